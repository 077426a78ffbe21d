//! The column list of CREATE STREAM and CREATE TABLE.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Interval, Value};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use pluvio_catalog::{Column, Watermark};

use super::command::{identifier, next_position};
use super::types::arrow_type;
use crate::{Position, QueryError};

/// What stands between the parentheses.
#[derive(Debug, Default)]
pub struct Columns {
    pub columns: Vec<Column>,
    pub key: Vec<usize>,
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
        if super::command::word(parser, "WATERMARK") {
            parser.expect_keyword(Keyword::FOR)?;
            self.watermark = Some(self.watermark(parser)?);
            return Ok(());
        }
        if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
            return self.key_list(parser);
        }
        let name = identifier(parser)?;
        if self.columns.iter().any(|c| c.name == name) {
            return Err(QueryError::invalid(format!("the column \"{name}\" is named twice")));
        }
        if parser.parse_keyword(Keyword::AS) {
            return self.computed(parser, name);
        }
        let position = next_position(parser);
        let data_type = arrow_type(&parser.parse_data_type()?).map_err(|e| e.at(position))?;
        let mut column = Column { name, data_type, nullable: true };
        loop {
            if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                column.nullable = false;
            } else if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
                column.nullable = false;
                self.key.push(self.columns.len());
            } else if !parser.parse_keyword(Keyword::NULL) {
                break;
            }
        }
        self.columns.push(column);
        Ok(())
    }

    /// `name AS PROCTIME()`.
    fn computed(&mut self, parser: &mut Parser<'_>, name: String) -> Result<(), QueryError> {
        let position = next_position(parser);
        let expression = parser.parse_expr()?.to_string();
        if !expression.eq_ignore_ascii_case("proctime()") {
            return Err(QueryError::unsupported(format!(
                "a computed column is written name AS PROCTIME(), not {expression}: compute others in a view"
            ))
            .at(position));
        }
        if self.processing_time.replace(name).is_some() {
            return Err(QueryError::invalid("one column with PROCTIME() is enough").at(position));
        }
        Ok(())
    }

    fn key_list(&mut self, parser: &mut Parser<'_>) -> Result<(), QueryError> {
        // NOT ENFORCED and the like are not ours: a key is always enforced.
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
        Ok(())
    }

    fn place(&self, name: &str, position: Position) -> Result<usize, QueryError> {
        let missing = || QueryError::invalid(format!("there is no column \"{name}\" above")).at(position);
        self.columns.iter().position(|c| c.name == name).ok_or_else(missing)
    }

    fn watermark(&self, parser: &mut Parser<'_>) -> Result<Watermark, QueryError> {
        let position = next_position(parser);
        let column = identifier(parser)?;
        let place = self.place(&column, position)?;
        if !matches!(self.columns[place].data_type, datafusion::arrow::datatypes::DataType::Timestamp(..)) {
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
