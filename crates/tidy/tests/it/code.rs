//! How Rust files look.

use crate::none;
use crate::source::{code_of, functions, sources};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Functions that are long and better so: file, name, and why.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

#[test]
fn every_file_opens_with_its_purpose() {
    let bare = sources().into_iter().filter(|source| source.is_product() && !source.text.starts_with("//!"));
    let bare: Vec<_> = bare.map(|source| source.path.display().to_string()).collect();
    none(&bare, "Open the file with `//!`: what it is for, what it promises, what it does not do.");
}

#[test]
fn no_file_is_long() {
    let mut findings = Vec::new();
    for source in sources() {
        let lines = source.without_tests().lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{}: {lines} lines", source.path.display()));
        }
    }
    none(
        &findings,
        "At most 800 lines before the file's test module: split the file by what its parts are for.",
    );
}

#[test]
fn no_function_is_long() {
    let (mut findings, mut used) = (Vec::new(), Vec::new());
    for source in sources().into_iter().filter(|source| source.is_product()) {
        let path = source.path.display().to_string();
        for (name, line, lines) in functions(source.without_tests()) {
            if lines <= FUNCTION_LINES_MAX {
                continue;
            }
            match LONG_FUNCTIONS.iter().find(|(file, function, _)| *file == path && *function == name) {
                Some(exception) => used.push(exception),
                None => findings.push(format!("{path}:{line}: {name} has {lines} lines")),
            }
        }
    }
    none(
        &findings,
        "At most 70 lines: name its steps as functions, or list it in LONG_FUNCTIONS with the reason.",
    );
    let unused = LONG_FUNCTIONS.iter().filter(|exception| !used.contains(exception));
    let unused: Vec<_> = unused.map(|(file, function, _)| format!("{file}: {function}")).collect();
    none(&unused, "No longer long: remove it from LONG_FUNCTIONS.");
}

#[test]
fn libraries_do_not_print() {
    let mut findings = Vec::new();
    for source in sources().into_iter().filter(|source| source.is_library()) {
        for (index, line) in code_of(source.without_tests()).lines().enumerate() {
            if ["print!", "println!", "eprint!", "eprintln!", "dbg!"].iter().any(|it| line.contains(it)) {
                findings.push(format!("{}:{}: {}", source.path.display(), index + 1, line.trim()));
            }
        }
    }
    none(
        &findings,
        "Use `tracing` for what an operator should see, and remove what was for finding a fault.",
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Written in parts, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:")];
    let mut findings = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                findings.push(format!("{}:{}: {}", source.path.display(), index + 1, line.trim()));
            }
        }
    }
    none(&findings, "Do it now, or write what is missing where readers look for it: the docs.");
}
