//! What is in the repository besides code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::none;
use crate::source::{root, tracked};

const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a file may be larger: data that an example needs as it was published,
/// and pictures.
const LARGE_FILES: &[&str] = &["examples/flights", "docs/images"];

/// Everything the root may hold. One more entry is one more thing that every
/// newcomer reads first.
const ROOT: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".dockerignore",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "bench",
    "clippy.toml",
    "compat",
    "console",
    "crates",
    "deny.toml",
    "docs",
    "examples",
    "fuzz",
    "justfile",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "sim",
    "tests",
];

#[test]
fn the_root_is_clear() {
    let entries: BTreeSet<String> = tracked()
        .iter()
        .filter_map(|path| Some(path.iter().next()?.to_string_lossy().into_owned()))
        .collect();
    let strange: Vec<_> = entries.into_iter().filter(|entry| !ROOT.contains(&entry.as_str())).collect();
    none(
        &strange,
        "Put it into the folder it belongs to; if there is none, add it to ROOT in crates/tidy/tests/it/files.rs.",
    );
}

#[test]
fn no_file_is_heavy() {
    let mut findings = Vec::new();
    for path in tracked() {
        let bytes = fs::metadata(root().join(&path)).unwrap().len();
        if bytes > FILE_BYTES_MAX && !LARGE_FILES.iter().any(|folder| path.starts_with(folder)) {
            findings.push(format!("{}: {bytes} bytes", path.display()));
        }
    }
    none(&findings, "At most 1 MiB: generate it, shrink it, or fetch it when it is needed.");
}

#[test]
fn every_decision_has_a_title() {
    let decisions = tracked().into_iter().filter(|path| path.starts_with("docs/decisions"));
    let untitled = decisions.filter(|path| !has_title(&root().join(path)));
    let untitled: Vec<_> = untitled.map(|path| path.display().to_string()).collect();
    none(&untitled, "A decision is a Markdown file whose first line is `# ` and what was decided.");
}

fn has_title(path: &Path) -> bool {
    let markdown = path.extension().is_some_and(|extension| extension == "md");
    markdown && fs::read_to_string(path).unwrap().starts_with("# ")
}
