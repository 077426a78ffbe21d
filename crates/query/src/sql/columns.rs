//! The column list of CREATE STREAM and CREATE TABLE.

use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Interval, Value};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use pluvio_catalog::{Column, ColumnFrom, ComputedColumn, Watermark};

use super::command::{identifier, next_position, word};
use super::types::data_type;
use crate::{Position, QueryError};

/// What stands between the parentheses.
#[derive(Debug, Default)]
pub struct Columns {
    pub columns: Vec<Column>,
    pub key: Vec<usize>,
    /// Of each column, where it comes from.
    pub from: Vec<ColumnFrom>,
    pub computed: Vec<ComputedColumn>,
    pub watermark: Option<Watermark>,
    pub processing_time: Option<String>,
}

impl Columns {
    pub fn parse(parser: &mut Parser<'_>) -> Result<Self, QueryError> {
        let mut list = Self::default();
        parser.expect_token(&Token::LParen)?;
        loop {
            let position = next_position(parser);
            list.item(parser).map_err(|e| e.at(position))?;
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
        if list.columns.is_empty() {
            return Err(QueryError::invalid("at least one column is needed"));
        }
        Ok(list)
    }

    fn item(&mut self, parser: &mut Parser<'_>) -> Result<(), QueryError> {
        if word(parser, "WATERMARK") {
            parser.expect_keyword(Keyword::FOR)?;
            self.watermark = Some(self.watermark(parser)?);
            return Ok(());
        }
        if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
            return self.key_list(parser);
        }
        let name = identifier(parser)?;
        let computed = self.computed.iter().map(|computed| &computed.column);
        if self.columns.iter().chain(computed).any(|c| c.name == name) {
            return Err(QueryError::invalid(format!("the column \"{name}\" is named twice")));
        }
        if parser.parse_keyword(Keyword::AS) {
            return self.computed(parser, name);
        }
        let position = next_position(parser);
        let data_type = data_type(parser).map_err(|e| e.at(position))?;
        let mut column = Column { name, data_type, nullable: true };
        let mut from = ColumnFrom::Value;
        loop {
            if word(parser, "METADATA") {
                from = metadata(parser, &column.name)?;
            } else if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                column.nullable = false;
            } else if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
                not_enforced(parser);
                column.nullable = false;
                self.key.push(self.columns.len());
            } else if !parser.parse_keyword(Keyword::NULL) {
                break;
            }
        }
        self.columns.push(column);
        self.from.push(from);
        Ok(())
    }

    /// `name AS PROCTIME()`, `name AS expression`.
    fn computed(&mut self, parser: &mut Parser<'_>, name: String) -> Result<(), QueryError> {
        let position = next_position(parser);
        let expression = parser.parse_expr()?.to_string();
        if !expression.eq_ignore_ascii_case("proctime()") {
            // The type is known when the expression is planned.
            let column = Column { name, data_type: DataType::Null, nullable: true };
            self.computed.push(ComputedColumn { column, expression });
            return Ok(());
        }
        if self.processing_time.replace(name).is_some() {
            return Err(QueryError::invalid("one column with PROCTIME() is enough").at(position));
        }
        Ok(())
    }

    fn key_list(&mut self, parser: &mut Parser<'_>) -> Result<(), QueryError> {
        parser.expect_token(&Token::LParen)?;
        loop {
            let position = next_position(parser);
            let name = identifier(parser)?;
            let place = self.place(&name, position)?;
            self.columns[place].nullable = false;
            self.key.push(place);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
        not_enforced(parser);
        Ok(())
    }

    fn place(&self, name: &str, position: Position) -> Result<usize, QueryError> {
        let missing = || QueryError::invalid(format!("there is no column \"{name}\" above")).at(position);
        self.columns.iter().position(|c| c.name == name).ok_or_else(missing)
    }

    fn watermark(&self, parser: &mut Parser<'_>) -> Result<Watermark, QueryError> {
        let position = next_position(parser);
        let column = identifier(parser)?;
        let is_computed = self.computed.iter().any(|computed| computed.column.name == column);
        if !is_computed
            && !matches!(self.columns[self.place(&column, position)?].data_type, DataType::Timestamp(..))
        {
            let message = format!("a watermark needs a TIMESTAMP column, \"{column}\" is not one");
            return Err(QueryError::invalid(message).at(position));
        }
        parser.expect_keyword(Keyword::AS)?;
        let position = next_position(parser);
        let expression = parser.parse_expr()?;
        let delay_us = delay_us(&expression, &column).ok_or_else(|| {
            QueryError::unsupported(format!(
                "a watermark is written {column} or {column} - INTERVAL '2' SECOND, not {expression}"
            ))
            .at(position)
        })?;
        Ok(Watermark { column, delay_us })
    }
}

/// `NOT ENFORCED` behind a key, as Flink wants it: a key of ours holds anyway.
fn not_enforced(parser: &mut Parser<'_>) {
    let _ = parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED]);
}

/// `METADATA [FROM 'what'] [VIRTUAL]`, behind the first word.
fn metadata(parser: &mut Parser<'_>, column: &str) -> Result<ColumnFrom, QueryError> {
    let position = next_position(parser);
    let what = match parser.parse_keyword(Keyword::FROM) {
        true => parser.parse_literal_string()?,
        false => column.to_owned(),
    };
    let _ = word(parser, "VIRTUAL");
    let unknown = || {
        let message = format!(
            "there is no METADATA '{what}': it is 'key', 'key.{column}' (a field of a JSON key), 'header.NAME', \
             'partition', 'offset' or 'timestamp'"
        );
        QueryError::invalid(message).at(position)
    };
    Ok(match what.as_str() {
        "key" => ColumnFrom::Key,
        "partition" => ColumnFrom::Partition,
        "offset" => ColumnFrom::Offset,
        "timestamp" => ColumnFrom::Timestamp,
        other => match other.split_once('.') {
            Some(("header" | "headers", name)) if !name.is_empty() => ColumnFrom::Header(name.to_owned()),
            Some(("key", field)) if field == column => ColumnFrom::KeyField,
            _ => return Err(unknown()),
        },
    })
}

fn delay_us(expression: &Expr, column: &str) -> Option<i64> {
    let is_column = |e: &Expr| matches!(e, Expr::Identifier(i) if i.value.eq_ignore_ascii_case(column));
    match expression {
        e if is_column(e) => Some(0),
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if is_column(left) => {
            match right.as_ref() {
                Expr::Interval(interval) => interval_us(interval),
                _ => None,
            }
        }
        _ => None,
    }
}

fn interval_us(interval: &Interval) -> Option<i64> {
    let text = match interval.value.as_ref() {
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(text) => text.clone(),
            Value::Number(text, _) => text.clone(),
            _ => return None,
        },
        _ => return None,
    };
    let unit = interval.leading_field.as_ref().map(|f| f.to_string().to_lowercase());
    let spelled = match unit {
        Some(unit) => format!("{text} {unit}"),
        None => text,
    };
    let ms = pluvio_config::parse_duration_ms(&spelled).ok()?;
    i64::try_from(ms).ok()?.checked_mul(1000)
}
