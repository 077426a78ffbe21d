//! Spans: retention, holds, reading back from disk, restarts.

use std::sync::Arc;

use pluvio_keytables::{Span, SpanRetention, Store, StoreOptions};
use pluvio_testkit::ManualClock;

use crate::rows::*;

fn append(store: &Store, span: &Arc<Span>, tag: u64, first: i64, count: i64) {
    let mut commit = store.begin();
    commit.append(span, tag, span_rows(first, count));
    commit.commit().unwrap();
}

fn files(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder.join("spans/1")).unwrap().count()
}

#[test]
fn age_lets_the_oldest_go_unless_held() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::default();
    let options = StoreOptions { segment_bytes: 2000, ..quiet() };
    let start = || {
        let disk = Arc::new(pluvio_foundation::RealDisk);
        let store = open(folder.path(), disk, Arc::new(clock.clone()), options.clone());
        let retention = SpanRetention { age_ms: Some(1000), bytes_max: 1 << 20 };
        let span = store.create_span("s", span_schema(), retention).unwrap();
        (store, span)
    };
    let (store, span) = start();
    assert_eq!(span.last_tag(), None);
    for tag in 1..=10 {
        append(&store, &span, tag, tag as i64 * 10, 10);
        clock.advance_ms(200);
    }
    assert_eq!(numbers(&span.snapshot(None).unwrap()).first(), Some(&50));
    assert_eq!(numbers(&span.snapshot(Some(8)).unwrap()), (90..110).collect::<Vec<_>>());
    assert_eq!(span.len_rows(), 60);

    // Held rows stay, through restarts too, whether or not a commit came after.
    span.hold("sink", Some(7));
    drop((store, span));
    clock.advance_ms(60_000);
    let (store, span) = start();
    assert_eq!(numbers(&span.snapshot(None).unwrap()), (80..110).collect::<Vec<_>>());
    store.checkpoint().unwrap();
    append(&store, &span, 11, 110, 10);
    span.hold("sink", Some(9));
    assert_eq!(numbers(&span.snapshot(None).unwrap()), (100..120).collect::<Vec<_>>());
    append(&store, &span, 12, 120, 10);
    drop((store, span));
    let (store, span) = start();
    assert_eq!(numbers(&span.snapshot(None).unwrap()), (100..130).collect::<Vec<_>>());
    span.hold("sink", None);
    clock.advance_ms(60_000);
    store.checkpoint().unwrap();
    assert_eq!(numbers(&span.snapshot(None).unwrap()), (120..130).collect::<Vec<_>>());
    assert_eq!((span.last_tag(), files(folder.path())), (Some(12), 1));
    let (rows, tag) = (span.len_rows(), span.last_tag());
    drop((store, span));
    let (_store, span) = start();
    assert_eq!((span.len_rows(), span.last_tag()), (rows, tag));
}

#[test]
fn held_rows_beyond_memory_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let retention = SpanRetention { age_ms: None, bytes_max: 4096 };
    let options = StoreOptions { segment_bytes: 3000, ..quiet() };
    let store = open_real(folder.path(), options.clone());
    let span = store.create_span("s", span_schema(), retention).unwrap();
    span.hold("sink", Some(0));
    for tag in 1..=50 {
        append(&store, &span, tag, tag as i64 * 10, 10);
    }
    assert!(span.bytes() <= 4096, "{}", span.bytes());
    assert_eq!(numbers(&span.snapshot(None).unwrap()), (10..510).collect::<Vec<_>>());
    assert_eq!(numbers(&span.snapshot(Some(30)).unwrap()), (310..510).collect::<Vec<_>>());
    let mut seen = Vec::new();
    let mut after = None;
    while let Some((tag, _)) = span.read(after, 1500).unwrap().last() {
        let part = span.read(after, 1500).unwrap();
        assert!(part.len() < 20);
        seen.extend(numbers(&part));
        after = Some(*tag);
    }
    assert_eq!(seen, (10..510).collect::<Vec<_>>());
    drop((store, span));

    let store = open_real(folder.path(), options);
    let span = store.span("s").unwrap();
    assert!(span.bytes() <= 4096);
    assert_eq!(numbers(&span.snapshot(None).unwrap()), (10..510).collect::<Vec<_>>());
    let before = files(folder.path());
    span.hold("sink", Some(49));
    assert!(span.len_rows() < 200 && files(folder.path()) < before);
    assert_eq!(numbers(&span.snapshot(None).unwrap()).last(), Some(&509));
}

#[test]
fn an_empty_append_moves_the_tag() {
    let folder = tempfile::tempdir().unwrap();
    let retention = SpanRetention { age_ms: None, bytes_max: 4096 };
    let store = open_real(folder.path(), quiet());
    let span = store.create_span("s", span_schema(), retention).unwrap();
    append(&store, &span, 3, 0, 0);
    assert_eq!((span.last_tag(), span.len_rows()), (Some(3), 0));
    append(&store, &span, 3, 0, 2);
    append(&store, &span, 4, 2, 0);
    drop((store, span));
    let store = open_real(folder.path(), quiet());
    let span = store.span("s").unwrap();
    assert_eq!((span.last_tag(), numbers(&span.snapshot(None).unwrap())), (Some(4), vec![0, 1]));
    assert_eq!(span.snapshot(None).unwrap()[0].1, span_rows(0, 2));
}
