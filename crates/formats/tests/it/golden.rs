//! Records that other implementations wrote (apache-avro, prost-reflect), and
//! what they become.

use std::fs;
use std::path::PathBuf;

use pluvio_formats::{Decoded, encode_json};

fn path(name: &str) -> PathBuf {
    PathBuf::from("tests/golden").join(name)
}

pub fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

pub fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

/// A record a line, as hexadecimal digits.
pub fn records(name: &str) -> Vec<Vec<u8>> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    let record = |line: &str| {
        let pairs = line.as_bytes().chunks(2);
        pairs.map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    };
    text(name).lines().map(record).collect()
}

/// The rows, which must be as in the file.
pub fn check(name: &str, decoded: &Decoded) {
    assert_eq!(decoded.errors, []);
    let rows = encode_json(&decoded.batch).unwrap();
    let expected = text(name);
    for (found, expected) in rows.iter().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(rows.as_lines(), expected);
}
