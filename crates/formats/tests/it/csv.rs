//! CSV events: any text survives being quoted, and any bytes are judged.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use pluvio_formats::{CsvOptions, Format, OnError, decoder};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{schema, timestamp};

/// A field as a careful writer would write it.
fn written(text: &str, delimiter: char) -> String {
    let plain = !text.is_empty() && text != "NA" && !text.contains(['"', '\r', '\n', delimiter]);
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

proptest! {
    #[test]
    fn any_text_survives(rows in vec((any::<String>(), "[a\",;\r\n ]{0,8}", prop::option::of("NA|[ab]{1,3}")), 1..5), semicolon: bool) {
        let delimiter = if semicolon { ';' } else { ',' };
        let options = CsvOptions { delimiter: delimiter as u8, ..CsvOptions::default() };
        let columns = schema(&[("a", DataType::Utf8), ("b", DataType::Utf8), ("c", DataType::Utf8)]);
        let mut decoder = decoder(&Format::Csv(options), columns, OnError::DeadLetter).unwrap();
        for (a, b, c) in &rows {
            let c = c.as_ref().map_or("NA".to_owned(), |text| written(text, delimiter));
            let line = [written(a, delimiter), written(b, delimiter), c].join(&delimiter.to_string());
            decoder.push(Some(line.as_bytes()));
        }
        let decoded = decoder.finish().unwrap();
        prop_assert_eq!(decoded.errors, []);
        for (row, (a, b, c)) in rows.iter().enumerate() {
            let value = |column: usize| {
                let array = decoded.batch.column(column).as_string::<i32>();
                array.is_valid(row).then(|| array.value(row))
            };
            prop_assert_eq!((value(0), value(1), value(2)), (Some(a.as_str()), Some(b.as_str()), c.as_deref()));
        }
    }

    #[test]
    fn any_bytes_are_judged_without_harm(line in vec(prop::sample::select(b"a1,\"\n\r\xc3\xa4-:.".to_vec()), 0..40)) {
        let columns = schema(&[("a", DataType::Utf8), ("b!", DataType::Int64), ("c", timestamp())]);
        let mut decoder = decoder(&Format::Csv(CsvOptions::default()), Arc::clone(&columns), OnError::Null).unwrap();
        decoder.push(Some(&line));
        decoder.push(Some(b"x,1,2013-01-01"));
        let decoded = decoder.finish().unwrap();
        prop_assert_eq!(decoded.batch.num_rows() + decoded.errors.len(), 2);
        prop_assert_eq!(decoded.ordinals.last(), Some(&1));
    }
}
