//! The names of result columns as PostgreSQL gives them: `count` for `count(*)`,
//! `?column?` for `1 + 1`. Drivers make dictionaries of them.

use datafusion::sql::sqlparser::ast::{Expr, Ident, SelectItem, SetExpr, Statement};
use pgwire::api::results::FieldInfo;

/// New names by position, for a query whose columns are spelled out.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Vec<Option<String>>);

impl Names {
    /// The fields under their names on the wire.
    pub(super) fn apply(&self, mut fields: Vec<FieldInfo>) -> Vec<FieldInfo> {
        if self.0.len() != fields.len() {
            return fields;
        }
        for (field, name) in fields.iter_mut().zip(&self.0) {
            if let Some(name) = name {
                let (table, column) = (field.table_id(), field.column_id());
                let renamed =
                    FieldInfo::new(name.clone(), table, column, field.datatype().clone(), field.format());
                *field = renamed.with_format_options(field.format_options().clone());
            }
        }
        fields
    }
}

/// The names of a query's columns; none for a column that keeps the plan's name.
pub(super) fn of_columns(statement: &Statement) -> Names {
    let Statement::Query(query) = statement else { return Names::default() };
    let mut body = query.body.as_ref();
    // The first branch of a set operation names the columns.
    while let SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    let SetExpr::Select(select) = body else { return Names::default() };
    let mut names = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expression) => names.push(Some(of_expression(expression))),
            SelectItem::ExprWithAlias { .. } => names.push(None),
            // Positions after a wildcard are not known here.
            _ => return Names::default(),
        }
    }
    Names(names)
}

fn of_expression(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(name) => identifier(name),
        Expr::CompoundIdentifier(names) => names.last().map_or_else(unnamed, identifier),
        Expr::Function(function) => {
            let last = function.name.0.last().and_then(|part| part.as_ident());
            last.map_or_else(unnamed, identifier)
        }
        Expr::Cast { expr, data_type, .. } => match of_expression(expr) {
            name if name == unnamed() => data_type.to_string().to_lowercase(),
            name => name,
        },
        Expr::Nested(inner) => of_expression(inner),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        _ => unnamed(),
    }
}

/// A name as SQL normalises it: lower case unless quoted.
pub(super) fn identifier(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn unnamed() -> String {
    "?column?".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str) -> Vec<Option<String>> {
        of_columns(match &pluvio_query::sql::parse(sql).unwrap().remove(0).command {
            pluvio_query::sql::Command::Sql(statement) => statement,
            other => panic!("{other:?}"),
        })
        .0
    }

    #[test]
    fn columns_are_named_as_in_postgres() {
        let found =
            names("SELECT count(*), 1 + 1, a.B, CAST('x' AS INT), x AS y, \"Q\", sum(v)::float8 FROM a");
        let expected =
            [Some("count"), Some("?column?"), Some("b"), Some("int"), None, Some("Q"), Some("sum")];
        assert_eq!(found, expected.map(|name| name.map(str::to_owned)));
        assert!(names("SELECT *, 1 FROM a").is_empty());
    }
}
