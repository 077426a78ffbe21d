//! Folders written by earlier versions still open. A sample is made by
//! `make_sample` (run it by name to make that of a new version) and never changed.
//!
//! Version 2 says in the journal how many rows tables have after a commit, version 3
//! how many they had before, and before each checkpoint.

use std::path::{Path, PathBuf};

use pluvio_keytables::SpanRetention;

use crate::rows::*;

fn sample(version: u32) -> PathBuf {
    PathBuf::from(format!("../../tests/formats/v{version}/keytables"))
}

/// Copies the files; folders without any are not kept in the repository.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::create_dir_all(to).unwrap();
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn model(upto: u64) -> Model {
    (0..upto).map(|key| (key, key * 3 + 1)).collect()
}

#[test]
fn the_sample_of_version_1_opens() {
    opens(1, 3);
}

#[test]
fn the_sample_of_version_2_opens() {
    opens(2, 3);
}

#[test]
fn the_sample_of_version_3_opens() {
    opens(3, 4);
}

fn opens(version: u32, seq: u64) {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(version), folder.path());
    let store = open_real(folder.path(), quiet());
    assert_eq!(store.committed_seq(), seq);
    for kind in 0..KINDS {
        let mut model = model(60);
        model.remove(&7);
        model.insert(8, 1000);
        assert_holds(&store.table(&format!("t{kind}")).unwrap(), kind, &model, "sample");
    }
    let span = store.span("span").unwrap();
    assert_eq!(numbers(&span.snapshot(None).unwrap()), (0..30).collect::<Vec<_>>());
    assert_eq!(span.last_tag(), Some(3));
    assert_eq!(store.note("applied").as_deref(), Some(b"one".as_slice()));
    assert_eq!(store.note("in the journal").as_deref(), Some(b"two".as_slice()));
}

#[test]
#[ignore = "makes the frozen sample"]
fn make_sample() {
    let folder = sample(3);
    std::fs::create_dir_all(&folder).unwrap();
    let store = open_real(&folder, quiet());
    let tables = create_all(&store);
    let retention = SpanRetention { age_ms: None, bytes_max: 1 << 20 };
    let span = store.create_span("span", span_schema(), retention).unwrap();
    for tag in 1..=3_u64 {
        let mut commit = store.begin();
        for (kind, table) in tables.iter().enumerate() {
            match tag {
                1 => commit.upsert(table, rows(kind, &model(50).into_iter().collect::<Vec<_>>())),
                2 => commit.upsert(table, rows(kind, &model(60).into_iter().skip(50).collect::<Vec<_>>())),
                _ => {
                    commit.delete(table, keys(kind, &[7]));
                    commit.upsert(table, rows(kind, &[(8, 1000)]));
                }
            }
        }
        commit.append(&span, tag, span_rows(tag as i64 * 10 - 10, 10));
        commit.note(
            if tag == 1 { "applied" } else { "in the journal" },
            Some(["one", "two", "two"][tag as usize - 1].into()),
        );
        commit.commit().unwrap();
        if tag == 1 {
            store.checkpoint().unwrap();
        }
    }
    drop((store, tables, span));
    // The keyed store allocates its journal ahead: the zeros need not be kept.
    let journal = std::fs::OpenOptions::new().write(true).open(folder.join("store/0.jnl")).unwrap();
    journal.set_len(20 << 10).unwrap();
}
