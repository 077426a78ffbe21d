//! What fuzzing kept, run again: see `docs/fuzzing.md`.

use std::path::PathBuf;

#[path = "../fuzzed/stored_files.rs"]
mod stored_files;

fn folder() -> PathBuf {
    PathBuf::from("../../fuzz/corpus/stored_files")
}

#[test]
fn stored_files_hold() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for path in files {
        let input = std::fs::read(&path).unwrap();
        let held = std::panic::catch_unwind(|| stored_files::check(&input));
        assert!(held.is_ok(), "{} does not hold", path.display());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
#[ignore = "writes the inputs that a search begins with"]
fn write_seeds() {
    for (name, bytes) in stored_files::seeds() {
        std::fs::write(folder().join(format!("seed-{name}")), bytes).unwrap();
    }
}
