//! SQL functions on texts that people know from elsewhere and DataFusion lacks.
//!
//! | Function | Gives |
//! |---|---|
//! | `regexp_extract(text, pattern, group)` | what a group of the first match has; NULL if nothing matches |
//! | `split_index(text, separator, index)` | the part at `index`, counted from 0; NULL if there are not as many |
//!
//! A pattern is a regular expression of bounded size; group 0, which may be
//! left out, is the whole match.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::exec_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::functions::compile_text_regex;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum TextFunction {
    RegexpExtract,
    SplitIndex,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Text {
    function: TextFunction,
    signature: Signature,
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &str {
        match self.function {
            TextFunction::RegexpExtract => "regexp_extract",
            TextFunction::SplitIndex => "split_index",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let [texts, patterns, rest @ ..] = arrays.as_slice() else {
            return exec_err!("{} takes a text and a text", self.name());
        };
        let zeros = || Int64Array::from(vec![0; rows]);
        let numbers = rest.first().map_or_else(zeros, |numbers| numbers.as_primitive::<Int64Type>().clone());
        let found = match self.function {
            TextFunction::RegexpExtract => extract(texts.as_string(), patterns.as_string(), &numbers)?,
            TextFunction::SplitIndex => split(texts.as_string(), patterns.as_string(), &numbers),
        };
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

fn extract(texts: &StringArray, patterns: &StringArray, groups: &Int64Array) -> Result<StringArray> {
    let mut found = StringBuilder::new();
    // Nearly always there is one pattern for all rows.
    let mut compiled: Option<(&str, regex::Regex)> = None;
    for row in 0..texts.len() {
        if texts.is_null(row) || patterns.is_null(row) || groups.is_null(row) {
            found.append_null();
            continue;
        }
        let pattern = patterns.value(row);
        let regex = match compiled.take() {
            Some((known, regex)) if known == pattern => regex,
            _ => compile_text_regex(pattern).map_err(DataFusionError::Execution)?,
        };
        let group = usize::try_from(groups.value(row)).ok().filter(|group| *group < regex.captures_len());
        let Some(group) = group else {
            return exec_err!("regexp_extract: {pattern:?} has no group {}", groups.value(row));
        };
        let text = regex.captures(texts.value(row)).and_then(|all| all.get(group)).map(|part| part.as_str());
        found.append_option(text);
        compiled = Some((pattern, regex));
    }
    Ok(found.finish())
}

fn split(texts: &StringArray, separators: &StringArray, indexes: &Int64Array) -> StringArray {
    let part = |row: usize| {
        if texts.is_null(row) || separators.is_null(row) || indexes.is_null(row) {
            return None;
        }
        let index = usize::try_from(indexes.value(row)).ok()?;
        match separators.value(row) {
            "" => (index == 0).then(|| texts.value(row)),
            separator => texts.value(row).split(separator).nth(index),
        }
    };
    (0..texts.len()).map(part).collect()
}

/// The functions to register.
pub fn scalar_functions() -> Vec<ScalarUDF> {
    let text = [DataType::Utf8, DataType::Utf8];
    let numbered = [DataType::Utf8, DataType::Utf8, DataType::Int64];
    let exact = |types: &[DataType]| TypeSignature::Exact(types.to_vec());
    let either = TypeSignature::OneOf(vec![exact(&numbered), exact(&text)]);
    [(TextFunction::RegexpExtract, either), (TextFunction::SplitIndex, exact(&numbered))]
        .map(|(function, signature)| {
            ScalarUDF::from(Text { function, signature: Signature::new(signature, Volatility::Immutable) })
        })
        .into()
}
