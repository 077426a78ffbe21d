//! INSERT, UPDATE and DELETE on real-time tables: the rows are computed by the
//! planner's own plan, then changed in one atomic, durable commit.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{
    concat_batches, filter_record_batch, kernels::zip::zip, not, take_record_batch,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::ParamValues;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::DataFrame;
use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, Expr, FromTable, Insert, ObjectName, OnConflictAction, OnInsert, Statement,
    TableFactor, TableObject,
};
use pluvio_catalog::Definition;
use pluvio_foundation::ErrorKind;
use pluvio_keytables::KeyTable;

use crate::define::{blocking, writable};
use crate::error::{NOT_NULL_VIOLATION, UNIQUE_VIOLATION};
use crate::session::{Outcome, Session, with_parameters};
use crate::tables::KeyedProvider;
use crate::{QueryError, produce};

/// What to do with a row whose key exists.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OnExisting {
    Fail,
    Skip,
    /// Overwrite these columns (positions).
    Update(Vec<usize>),
}

/// Executes a change.
pub(crate) async fn run(
    session: &Session,
    mut statement: Statement,
    parameters: Option<ParamValues>,
) -> Result<Outcome, QueryError> {
    let name = target(&statement)?;
    if let (Statement::Insert(_), Some(Definition::Stream(stream))) =
        (&statement, session.catalog().get(&name).as_deref())
    {
        return produce::run(session, statement, parameters, stream).await;
    }
    let provider = writable(session, &name)?;
    let keyed = provider.downcast_ref::<KeyedProvider>();
    let internal = || QueryError::new(ErrorKind::Internal, "a writable table is a keyed table");
    let table = keyed.ok_or_else(internal)?.table()?;
    let on_existing = match &mut statement {
        Statement::Insert(insert) => take_on_conflict(insert, &table)?,
        other => {
            check_key_untouched(other, &table)?;
            OnExisting::Fail
        }
    };
    let _writing = session.platform().writing.lock().await;
    let (verb, rows) = compute(session, statement, parameters).await?;
    let store = Arc::clone(session.platform().store());
    let tag = blocking(move || {
        let schema = table.schema();
        let rows = rows.iter().map(|b| conform(b, &schema)).collect::<Result<Vec<_>, _>>()?;
        let rows = concat_batches(&schema, &rows)?;
        let mut commit = store.begin();
        let tag = if verb.starts_with("Insert") {
            let (rows, inserted) = resolve_conflicts(rows, &table, &on_existing)?;
            commit.upsert(&table, rows);
            format!("INSERT 0 {inserted}")
        } else if verb == "Update" {
            let count = rows.num_rows();
            commit.upsert(&table, rows);
            format!("UPDATE {count}")
        } else {
            let keys = rows.project(table.key())?;
            let count = keys.num_rows();
            commit.delete(&table, keys);
            format!("DELETE {count}")
        };
        commit.commit()?;
        Ok(tag)
    });
    tag.await.map(Outcome::done)
}

/// The rows a change asks for, and what is to be done with them, in the planner's word.
pub(crate) async fn compute(
    session: &Session,
    statement: Statement,
    parameters: Option<ParamValues>,
) -> Result<(String, Vec<RecordBatch>), QueryError> {
    let plan = with_parameters(session.plan_statement(statement).await?, parameters)?;
    let LogicalPlan::Dml(dml) = plan else {
        return Err(QueryError::unsupported("this change cannot be planned"));
    };
    let frame = DataFrame::new(session.context().state(), dml.input.as_ref().clone());
    let rows = frame.collect().await.map_err(null_violation)?;
    Ok((dml.op.name().to_owned(), rows))
}

/// A NULL that the plan's own types refuse gets the code clients look for.
fn null_violation(error: DataFusionError) -> QueryError {
    let error = QueryError::from(error);
    match error.message().contains("declared as non-nullable") {
        true => error.with_sqlstate(NOT_NULL_VIOLATION),
        false => error,
    }
}

fn object(name: &ObjectName) -> Result<String, QueryError> {
    let last = name.0.last().and_then(|p| p.as_ident());
    let missing = || QueryError::invalid(format!("{name} is not a table's name"));
    let last = last.ok_or_else(missing)?;
    Ok(if last.quote_style.is_some() { last.value.clone() } else { last.value.to_lowercase() })
}

fn target(statement: &Statement) -> Result<String, QueryError> {
    let of_factor = |factor: &TableFactor| match factor {
        TableFactor::Table { name, .. } => object(name),
        other => Err(QueryError::invalid(format!("{other} is not a table's name"))),
    };
    match statement {
        Statement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => object(name),
            other => Err(QueryError::invalid(format!("{other} is not a table's name"))),
        },
        Statement::Update(update) => of_factor(&update.table.relation),
        Statement::Delete(delete) => {
            let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
            let missing = || QueryError::invalid("DELETE needs FROM table");
            of_factor(&tables.first().ok_or_else(missing)?.relation)
        }
        _ => Err(QueryError::unsupported("this change is not supported")),
    }
}

/// Takes ON CONFLICT off the statement: the planner does not know it.
fn take_on_conflict(insert: &mut Insert, table: &KeyTable) -> Result<OnExisting, QueryError> {
    let Some(on) = insert.on.take() else { return Ok(OnExisting::Fail) };
    let OnInsert::OnConflict(conflict) = on else {
        return Err(QueryError::unsupported("use ON CONFLICT (key) DO UPDATE SET … or DO NOTHING"));
    };
    let OnConflictAction::DoUpdate(update) = conflict.action else { return Ok(OnExisting::Skip) };
    if update.selection.is_some() {
        return Err(QueryError::unsupported("ON CONFLICT DO UPDATE … WHERE is not supported"));
    }
    let schema = table.schema();
    let mut columns = Vec::new();
    for assignment in &update.assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(QueryError::unsupported("ON CONFLICT DO UPDATE takes column = excluded.column"));
        };
        let column = object(name)?;
        let excluded = match &assignment.value {
            Expr::CompoundIdentifier(parts) => {
                matches!(parts.as_slice(), [t, c] if t.value.eq_ignore_ascii_case("excluded") && c.value.eq_ignore_ascii_case(&column))
            }
            _ => false,
        };
        if !excluded {
            let message =
                format!("ON CONFLICT DO UPDATE takes {column} = excluded.{column}, not {}", assignment.value);
            return Err(QueryError::unsupported(message));
        }
        columns.push(
            schema
                .index_of(&column)
                .map_err(|_| QueryError::invalid(format!("there is no column \"{column}\"")))?,
        );
    }
    Ok(OnExisting::Update(columns))
}

fn check_key_untouched(statement: &Statement, table: &KeyTable) -> Result<(), QueryError> {
    let Statement::Update(update) = statement else { return Ok(()) };
    let schema = table.schema();
    for assignment in &update.assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else { continue };
        let column = object(name)?;
        if table.key().iter().any(|k| schema.field(*k).name() == &column) {
            let message = format!(
                "\"{column}\" belongs to the primary key and cannot be updated: DELETE the row and INSERT it anew"
            );
            return Err(QueryError::unsupported(message));
        }
    }
    Ok(())
}

/// A batch in the table's own column types; NULL where it may not be is an error.
pub(crate) fn conform(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for (i, field) in schema.fields().iter().enumerate() {
        let column = datafusion::arrow::compute::cast(rows.column(i), field.data_type())?;
        if !field.is_nullable() && column.null_count() > 0 {
            let message = format!("the column \"{}\" may not be NULL", field.name());
            return Err(QueryError::invalid(message).with_sqlstate(NOT_NULL_VIOLATION));
        }
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn resolve_conflicts(
    rows: RecordBatch,
    table: &KeyTable,
    on_existing: &OnExisting,
) -> Result<(RecordBatch, usize), QueryError> {
    let keys: Vec<ArrayRef> = table.key().iter().map(|k| Arc::clone(rows.column(*k))).collect();
    if *on_existing == OnExisting::Fail
        && let Some(row) = first_repeated(&keys)?
    {
        return Err(duplicate(&rows, table, row));
    }
    let existing = table.lookup(&keys, None)?;
    match on_existing {
        OnExisting::Fail => match (0..rows.num_rows()).find(|i| existing.found.value(*i)) {
            Some(row) => Err(duplicate(&rows, table, row)),
            None => Ok((rows.clone(), rows.num_rows())),
        },
        OnExisting::Skip => {
            let rows = filter_record_batch(&rows, &not(&existing.found)?)?;
            let count = rows.num_rows();
            Ok((rows, count))
        }
        OnExisting::Update(columns) => {
            let keep = |i: usize| !columns.contains(&i) && !table.key().contains(&i);
            let merge = |i: usize| -> Result<ArrayRef, QueryError> {
                match keep(i) {
                    true => Ok(zip(&existing.found, &existing.columns[i], rows.column(i))?),
                    false => Ok(Arc::clone(rows.column(i))),
                }
            };
            let merged = (0..rows.num_columns()).map(merge).collect::<Result<Vec<_>, _>>()?;
            let count = rows.num_rows();
            Ok((RecordBatch::try_new(rows.schema(), merged)?, count))
        }
    }
}

/// The first row whose key stands in an earlier row.
fn first_repeated(keys: &[ArrayRef]) -> Result<Option<usize>, QueryError> {
    let fields = keys.iter().map(|k| SortField::new(k.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let rows = converter.convert_columns(keys)?;
    let mut seen = std::collections::HashSet::with_capacity(rows.num_rows());
    Ok(rows.iter().position(|row| !seen.insert(row.owned())))
}

fn duplicate(rows: &RecordBatch, table: &KeyTable, row: usize) -> QueryError {
    let key = take_record_batch(rows, &UInt32Array::from(vec![u32::try_from(row).unwrap_or(0)]));
    let show = |rows: RecordBatch| {
        let schema = rows.schema();
        let text = |k: &usize| {
            let value = datafusion::arrow::util::display::array_value_to_string(rows.column(*k), 0);
            format!("{} = {}", schema.field(*k).name(), value.unwrap_or_default())
        };
        table.key().iter().map(text).collect::<Vec<_>>().join(", ")
    };
    let key = key.map(show).unwrap_or_default();
    let message = format!(
        "\"{}\" has a row with the key {key} already; use INSERT … ON CONFLICT DO UPDATE to overwrite",
        table.name()
    );
    QueryError::new(ErrorKind::AlreadyExists, message).with_sqlstate(UNIQUE_VIOLATION)
}
