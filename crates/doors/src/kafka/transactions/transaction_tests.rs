//! The rules, one by one.

use super::*;

fn fresh() -> Transaction {
    Transaction::new(1_000, 0).identify(None, 1_000, 5, 70).unwrap()
}

fn ongoing() -> Transaction {
    fresh().add(&[("t".into(), [1; 16], 0)], None, 10).unwrap()
}

fn ending(epoch: i16, is_commit: bool, raises_epoch: bool) -> Ending {
    Ending { producer_id: 70, epoch, is_commit, raises_epoch }
}

fn prepared(decision: Result<Decision, Code>) -> Transaction {
    match decision {
        Ok(Decision::Prepare(next)) => *next,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_instance_gets_a_higher_epoch() {
    let one = fresh();
    assert_eq!((one.producer_id, one.producer_epoch), (70, 0));
    let two = one.identify(None, 1_000, 6, 71).unwrap();
    assert_eq!((two.producer_id, two.producer_epoch, two.last_epoch), (70, 1, NO_EPOCH));
    assert_eq!(two.identify(Some((70, 0)), 1_000, 7, 71), Err(Code::ProducerFenced));
    assert_eq!(two.identify(Some((9, 1)), 1_000, 7, 71), Err(Code::ProducerFenced));
    // One that goes on after an error, and asks again because the answer was lost.
    let three = two.identify(Some((70, 1)), 1_000, 7, 71).unwrap();
    let again = three.identify(Some((70, 1)), 1_000, 8, 71).unwrap();
    assert_eq!((three.producer_epoch, again.producer_epoch), (2, 2));
}

#[test]
fn an_exhausted_epoch_needs_a_new_id() {
    let last = Transaction { producer_epoch: EPOCH_MAX, ..fresh() };
    for expected in [None, Some((70, EPOCH_MAX))] {
        assert!(last.needs_id(expected));
        let next = last.identify(expected, 1_000, 6, 99).unwrap();
        assert_eq!((next.producer_id, next.producer_epoch, next.previous_id), (99, 0, 70));
        // Asked again under the old name it is told the same.
        let again = next.identify(Some((70, EPOCH_MAX)), 1_000, 7, 100).unwrap();
        assert_eq!((again.producer_id, again.producer_epoch), (99, 0));
    }
}

#[test]
fn a_transaction_begins_with_what_it_touches_first() {
    let one = ongoing();
    assert_eq!((one.state, one.started_ms, one.len()), (State::Ongoing, 10, 1));
    assert_eq!(one.add(&[("t".into(), [1; 16], 0)], None, 11), None);
    let two = one.add(&[("t".into(), [1; 16], 3)], Some("g"), 11).unwrap();
    assert_eq!((two.started_ms, two.len()), (10, 3));
    // A topic made again under the same name is another one.
    let three = two.add(&[("t".into(), [2; 16], 0)], None, 12).unwrap();
    assert!(three.has_partition("t", [2; 16], 0) && !three.has_partition("t", [1; 16], 3));
}

#[test]
fn an_older_client_keeps_its_epoch_and_may_ask_again() {
    let next = prepared(ongoing().end(&ending(0, true, false), 20, NO_ID));
    assert_eq!((next.state, next.producer_epoch, next.ran_in_epoch), (State::PrepareCommit, 0, 0));
    let done = next.completed(21);
    assert_eq!((done.state, done.len()), (State::CompleteCommit, 0));
    assert_eq!(done.end(&ending(0, true, false), 22, NO_ID), Ok(Decision::Done));
    assert_eq!(done.end(&ending(0, false, false), 22, NO_ID), Err(Code::InvalidTxnState));
    assert_eq!(fresh().end(&ending(0, true, false), 22, NO_ID), Err(Code::InvalidTxnState));
    assert_eq!(ongoing().end(&ending(1, true, false), 20, NO_ID), Err(Code::ProducerFenced));
    let stranger = Ending { producer_id: 5, ..ending(0, true, false) };
    assert_eq!(ongoing().end(&stranger, 20, NO_ID), Err(Code::InvalidProducerIdMapping));
}

#[test]
fn a_newer_client_gets_an_epoch_with_every_end() {
    let next = prepared(ongoing().end(&ending(0, true, true), 20, NO_ID));
    assert_eq!((next.producer_epoch, next.ran_in_epoch, next.identity_after()), (1, 0, (70, 1)));
    let done = next.completed(21);
    // The answer was lost: asked again with the epoch it ran in.
    assert_eq!(done.end(&ending(0, true, true), 22, NO_ID), Ok(Decision::Done));
    assert_eq!(done.end(&ending(0, false, true), 22, NO_ID), Err(Code::InvalidTxnState));
    // With the present epoch it is the next end: nothing to commit, an abort is fine.
    assert_eq!(done.end(&ending(1, true, true), 22, NO_ID), Err(Code::InvalidTxnState));
    let empty = prepared(done.end(&ending(1, false, true), 22, NO_ID));
    assert_eq!((empty.state, empty.producer_epoch, empty.len()), (State::PrepareAbort, 2, 0));
    let first = prepared(fresh().end(&ending(0, false, true), 22, NO_ID));
    assert_eq!(first.producer_epoch, 1);
    // An end of the transaction before last is from an instance that is gone.
    let later = done.add(&[("t".into(), [1; 16], 0)], None, 30).unwrap();
    assert_eq!(later.end(&ending(0, true, true), 31, NO_ID), Err(Code::ProducerFenced));
}

#[test]
fn epochs_that_run_out_at_an_end_lead_to_a_new_id() {
    let last = Transaction { producer_epoch: EPOCH_MAX, ..ongoing() };
    let next = prepared(last.end(&ending(EPOCH_MAX, true, true), 20, 99));
    assert_eq!((next.producer_id, next.producer_epoch), (70, i16::MAX));
    assert_eq!(next.identity_after(), (99, 0));
    let done = next.completed(21);
    assert_eq!((done.producer_id, done.producer_epoch, done.previous_id), (99, 0, 70));
    assert_eq!(done.end(&ending(EPOCH_MAX, true, true), 22, NO_ID), Ok(Decision::Done));
}

#[test]
fn a_fenced_producer_can_do_nothing_more() {
    let mut overdue = ongoing();
    assert!(!overdue.is_overdue(1_009) && overdue.is_overdue(1_010));
    overdue = overdue.fence(1_010);
    assert_eq!((overdue.state, overdue.producer_epoch, overdue.ran_in_epoch), (State::PrepareAbort, 1, 0));
    let done = overdue.completed(1_011);
    for raises_epoch in [true, false] {
        assert_eq!(done.end(&ending(0, true, raises_epoch), 2_000, NO_ID), Err(Code::ProducerFenced));
    }
    assert_eq!(done.check_producer(70, 0), Err(Code::ProducerFenced));
    assert!(done.is_idle_since(1_012) && !done.is_idle_since(1_011));
}
