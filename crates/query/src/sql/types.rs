//! SQL types ↔ Arrow types, for column definitions.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, TimezoneInfo};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::command::{identifier, word};
use crate::QueryError;

/// How deep types may lie in each other.
const DEPTH_MAX: usize = 32;

/// The type that stands here. Beside what the parser knows: `STRUCT<a INT, …>` or
/// `ROW(a INT, …)`, `MAP<K, V>`, `ARRAY<T>`, and `T[]` of any of them.
///
/// # Errors
/// A type that there is not.
pub fn data_type(parser: &mut Parser<'_>) -> Result<DataType, QueryError> {
    let mut types = Types { parser, closed: 0, depth: 0 };
    let found = types.next()?;
    match types.closed {
        0 => Ok(found),
        _ => Err(QueryError::invalid("there is a '>' too many behind the type")),
    }
}

struct Types<'a, 'p> {
    parser: &'a mut Parser<'p>,
    /// Closing brackets that were read as one token with another.
    closed: usize,
    depth: usize,
}

impl Types<'_, '_> {
    fn next(&mut self) -> Result<DataType, QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(QueryError::invalid(format!("types lie in each other at most {DEPTH_MAX} deep")));
        }
        let mut found = if word(self.parser, "STRUCT") || word(self.parser, "ROW") {
            self.fields()?
        } else if word(self.parser, "MAP") {
            self.map()?
        } else if self.is_array() {
            self.parser.next_token();
            let end = self.open()?;
            let item = self.next()?;
            self.close(&end)?;
            list(item)
        } else {
            arrow_type(&self.parser.parse_data_type()?)?
        };
        while self.closed == 0 && self.parser.consume_token(&Token::LBracket) {
            self.parser.expect_token(&Token::RBracket)?;
            found = list(found);
        }
        self.depth -= 1;
        Ok(found)
    }

    fn is_array(&self) -> bool {
        let is_word = matches!(&self.parser.peek_token().token,
            Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("array"));
        is_word && matches!(self.parser.peek_nth_token(1).token, Token::Lt | Token::LParen)
    }

    fn fields(&mut self) -> Result<DataType, QueryError> {
        let end = self.open()?;
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let name = identifier(self.parser)?;
            if fields.iter().any(|field| *field.name() == name) {
                return Err(QueryError::invalid(format!("the field \"{name}\" is named twice")));
            }
            let _ = self.parser.consume_token(&Token::Colon);
            fields.push(Field::new(name, self.next()?, true));
            if self.closed > 0 || !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.close(&end)?;
        Ok(DataType::Struct(Fields::from(fields)))
    }

    fn map(&mut self) -> Result<DataType, QueryError> {
        let end = self.open()?;
        let key = self.next()?;
        self.parser.expect_token(&Token::Comma)?;
        let value = self.next()?;
        self.close(&end)?;
        let entry = vec![Field::new("key", key, false), Field::new("value", value, true)];
        let entries = Field::new("entries", DataType::Struct(Fields::from(entry)), false);
        Ok(DataType::Map(Arc::new(entries), false))
    }

    /// Takes the opening bracket; gives the one that closes.
    fn open(&mut self) -> Result<Token, QueryError> {
        if self.parser.consume_token(&Token::LParen) {
            return Ok(Token::RParen);
        }
        self.parser.expect_token(&Token::Lt)?;
        Ok(Token::Gt)
    }

    fn close(&mut self, end: &Token) -> Result<(), QueryError> {
        if *end == Token::Gt && self.closed > 0 {
            self.closed -= 1;
        } else if *end == Token::Gt && self.parser.consume_token(&Token::ShiftRight) {
            self.closed += 1;
        } else {
            self.parser.expect_token(end)?;
        }
        Ok(())
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The Arrow type of a SQL type.
fn arrow_type(sql: &SqlType) -> Result<DataType, QueryError> {
    Ok(match sql {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) | SqlType::Int8(_) => DataType::Int64,
        SqlType::Real | SqlType::Float4 => DataType::Float32,
        SqlType::Float(_) | SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 => {
            DataType::Float64
        }
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => decimal(*info)?,
        SqlType::Varchar(_) | SqlType::CharVarying(_) | SqlType::CharacterVarying(_) => DataType::Utf8,
        SqlType::Char(_) | SqlType::Character(_) | SqlType::Text | SqlType::String(_) => DataType::Utf8,
        SqlType::Bytea | SqlType::Varbinary(_) | SqlType::Blob(_) | SqlType::Bytes(_) => DataType::Binary,
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) | SqlType::Datetime(_) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        SqlType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::SquareBracket(item, _)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => list(arrow_type(item)?),
        other => {
            return Err(QueryError::unsupported(format!(
                "the type {other} is not supported; use BOOLEAN, SMALLINT, INT, BIGINT, REAL, DOUBLE, DECIMAL(p, s), \
                 VARCHAR, BYTEA, DATE, TIMESTAMP, TIMESTAMP WITH TIME ZONE, ARRAY<T>, MAP<K, V> or \
                 STRUCT<name T, …>"
            )));
        }
    })
}

fn decimal(info: ExactNumberInfo) -> Result<DataType, QueryError> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if s >= 0 && s.unsigned_abs() <= p => Ok(DataType::Decimal128(p, s)),
        _ => Err(QueryError::invalid(format!(
            "DECIMAL({precision}, {scale}): the precision is 1 to 38, the scale at most that"
        ))),
    }
}

/// The SQL name of an Arrow type, for listings.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".into(),
        DataType::Binary => "BYTEA".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".into(),
        DataType::Decimal128(p, s) => format!("DECIMAL({p}, {s})"),
        DataType::List(item) => format!("{}[]", sql_name(item.data_type())),
        DataType::Struct(fields) => {
            let field = |field: &Arc<Field>| format!("{} {}", field.name(), sql_name(field.data_type()));
            format!("STRUCT<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) => {
                let types: Vec<_> = entry.iter().map(|field| sql_name(field.data_type())).collect();
                format!("MAP<{}>", types.join(", "))
            }
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}
