//! The machine of a group, with time and topics in the tests' hands.

use std::cell::RefCell;

use super::*;
use crate::kafka::groups::stored::Key;
use crate::kafka::groups::stored::consumer::{decode, encode};

#[derive(Default)]
struct Fixed {
    topics: RefCell<BTreeMap<String, (TopicId, u32)>>,
    version: RefCell<u64>,
}

impl Fixed {
    fn of(topics: &[(&str, u8, u32)]) -> Self {
        let fixed = Self::default();
        topics.iter().for_each(|(name, id, count)| fixed.set(name, *id, *count));
        fixed
    }

    fn set(&self, name: &str, id: u8, count: u32) {
        self.topics.borrow_mut().insert(name.into(), ([id; 16], count));
        *self.version.borrow_mut() += 1;
    }
}

impl Topics for Fixed {
    fn version(&self) -> u64 {
        *self.version.borrow()
    }

    fn find(&self, name: &str) -> Option<(TopicId, u32)> {
        self.topics.borrow().get(name).copied()
    }

    fn names(&self) -> Vec<String> {
        self.topics.borrow().keys().cloned().collect()
    }
}

const SESSION_MS: u64 = 45_000;
const REBALANCE_MS: u64 = 60_000;

fn settings() -> Settings {
    Settings { session_timeout_ms: SESSION_MS, heartbeat_interval_ms: 5_000, members_max: 3 }
}

/// A group, its topics, and what each member has, as a member would keep it.
struct Rig {
    group: ConsumerGroup,
    /// What is stored of each member.
    stored: BTreeMap<String, Vec<u8>>,
    /// What is stored of the head: epochs, way to assign, digest.
    head: (i32, i32, Assignor, u64),
    /// How many records were written.
    written: usize,
    topics: Fixed,
    now_ms: u64,
    members: BTreeMap<String, (i32, Parts)>,
}

impl Rig {
    fn new(topics: &[(&str, u8, u32)]) -> Self {
        let group = ConsumerGroup::new(settings());
        let (stored, members, head) = (BTreeMap::new(), BTreeMap::new(), (0, 0, Assignor::Uniform, 0));
        Self { group, stored, head, written: 0, topics: Fixed::of(topics), now_ms: 0, members }
    }

    fn head(&self) -> (i32, i32, Assignor, u64) {
        let group = &self.group;
        (group.epoch, group.assignment_epoch, group.assignor, group.resolved.digest)
    }

    /// Writes what changed, which is all that is not as it is stored.
    fn keep(&mut self) {
        let changes = self.group.unstored("g", vec![]);
        self.written += changes.len();
        for (key, value) in changes {
            match (key, value) {
                (Key::Group(_), _) => self.head = self.head(),
                (Key::Member { id, .. }, Some(value)) => _ = self.stored.insert(id, value),
                (Key::Member { id, .. }, None) => _ = self.stored.remove(&id),
            }
        }
        self.group.set_stored();
        assert_eq!(self.head, self.head());
        assert!(self.stored.keys().eq(self.group.members.keys()));
        for (id, stored) in &self.stored {
            let epoch = decode(stored).unwrap().assignment_epoch;
            assert_eq!(*stored, encode(&self.group.members[id], &self.group.target_of(id), epoch));
        }
    }

    /// Another group out of what is stored.
    fn restart(&mut self) {
        let mut group = ConsumerGroup::new(settings());
        (group.epoch, group.assignment_epoch, group.assignor, group.resolved.digest) = self.head;
        for (id, stored) in &self.stored {
            group.restore(id.clone(), decode(stored).unwrap()).unwrap();
        }
        group.resume(self.now_ms);
        assert_eq!(group.owners, self.group.owners);
        assert_eq!(group.state(), self.group.state());
        self.group = group;
    }

    fn send(&mut self, beat: Beat) -> Result<Beaten, Code> {
        let sent = self.group.heartbeat(self.now_ms, beat, &self.topics);
        // A partition never has two members.
        let held: Vec<Part> = self.group.members.values().flat_map(Member::held).collect();
        assert_eq!(held.len(), held.iter().collect::<BTreeSet<_>>().len());
        assert_eq!(held.len(), self.group.owners.len());
        self.keep();
        sent.map_err(|refusal| refusal.code)
    }

    fn joining(id: &str, topics: &[&str]) -> Beat {
        Beat {
            member_id: id.into(),
            rebalance_timeout_ms: Some(REBALANCE_MS),
            topics: Some(topics.iter().map(|name| (*name).to_owned()).collect()),
            owned: Some(Parts::new()),
            ..Beat::default()
        }
    }

    fn enter(&mut self, beat: Beat) -> Beaten {
        let beaten = self.send(beat).unwrap();
        let assignment = beaten.assignment.clone().expect("who joins is told what it has");
        self.members.insert(beaten.member_id.clone(), (beaten.epoch, assignment));
        beaten
    }

    fn join(&mut self, id: &str, topics: &[&str]) -> Beaten {
        self.enter(Self::joining(id, topics))
    }

    /// A heartbeat that says what the member has.
    fn beat(&mut self, id: &str) -> Result<Beaten, Code> {
        let (epoch, owned) = self.members[id].clone();
        let beat = Beat { member_id: id.into(), epoch, owned: Some(owned), ..Beat::default() };
        let beaten = self.send(beat)?;
        let member = self.members.get_mut(id).unwrap();
        member.0 = beaten.epoch;
        if let Some(assignment) = &beaten.assignment {
            member.1 = assignment.clone();
        }
        Ok(beaten)
    }

    /// Heartbeats of all, until nothing changes.
    fn settle(&mut self) {
        for _ in 0..10 {
            for id in self.members.keys().cloned().collect::<Vec<_>>() {
                self.beat(&id).unwrap();
            }
        }
        assert_eq!(self.group.state(), "Stable");
    }

    fn sizes(&self) -> Vec<usize> {
        self.members.values().map(|(_, parts)| parts.len()).collect()
    }
}

#[test]
fn what_is_taken_from_one_goes_to_the_other_only_after_it_is_given_back() {
    let mut rig = Rig::new(&[("rain", 1, 4)]);
    let first = rig.join("a", &["rain"]);
    assert_eq!((first.epoch, first.assignment.unwrap().len()), (1, 4));
    assert_eq!(rig.group.state(), "Stable");
    let second = rig.join("b", &["rain"]);
    assert_eq!((second.epoch, second.assignment.unwrap().len()), (2, 0));
    assert_eq!(rig.group.state(), "Reconciling");
    // Told to give two back, a still says that it has them.
    let had = rig.members["a"].1.clone();
    let told = rig.beat("a").unwrap();
    assert_eq!((told.epoch, told.assignment.unwrap().len()), (1, 2));
    let still = Beat { member_id: "a".into(), epoch: 1, owned: Some(had), ..Beat::default() };
    assert_eq!(rig.send(still).unwrap().assignment, None);
    assert_eq!(rig.beat("b").unwrap().assignment, None);
    assert_eq!(rig.group.check_offsets("a", 1), Ok(()), "it may commit before it gives back");
    let gave = rig.beat("a").unwrap();
    assert_eq!((gave.epoch, gave.assignment), (2, None));
    let got = rig.beat("b").unwrap();
    assert_eq!((got.epoch, got.assignment.unwrap().len()), (2, 2));
    assert_eq!((rig.group.state(), rig.group.epoch), ("Stable", 2));
}

#[test]
fn a_member_that_is_silent_or_does_not_give_back_is_given_up() {
    let mut rig = Rig::new(&[("rain", 1, 4)]);
    rig.join("a", &["rain"]);
    rig.now_ms = 10_000;
    rig.join("b", &["rain"]);
    rig.settle();
    rig.group.on_time(SESSION_MS + 9_999);
    assert_eq!(rig.group.members.len(), 2);
    rig.now_ms = SESSION_MS + 10_000;
    rig.beat("a").unwrap();
    rig.group.on_time(rig.now_ms);
    assert_eq!(rig.beat("b"), Err(Code::UnknownMemberId));
    rig.members.remove("b");
    assert_eq!(rig.group.state(), "Assigning");
    rig.settle();
    assert_eq!(rig.sizes(), [4]);
    // Now b comes back and a does not give back.
    rig.join("b", &["rain"]);
    rig.beat("a").unwrap();
    let until = rig.now_ms + REBALANCE_MS;
    while rig.now_ms < until {
        let silent = Beat { member_id: "a".into(), epoch: 3, ..Beat::default() };
        assert_eq!(rig.send(silent).unwrap().epoch, 3);
        rig.beat("b").unwrap();
        rig.now_ms += 5_000;
    }
    rig.group.on_time(until);
    assert_eq!(rig.beat("a"), Err(Code::UnknownMemberId));
    rig.members.remove("a");
    rig.settle();
    assert_eq!(rig.sizes(), [4]);
}

#[test]
fn epochs_that_cannot_be_are_fenced_and_a_lost_answer_is_not() {
    let mut rig = Rig::new(&[("rain", 1, 4)]);
    rig.join("a", &["rain"]);
    let at = |epoch, owned| Beat { member_id: "a".into(), epoch, owned, ..Beat::default() };
    assert_eq!(rig.send(at(2, None)), Err(Code::FencedMemberEpoch));
    rig.join("b", &["rain"]);
    rig.settle();
    // The answer that brought epoch 2 was lost.
    let owned = rig.members["a"].1.clone();
    assert_eq!(rig.send(at(1, None)), Err(Code::FencedMemberEpoch));
    assert_eq!(rig.send(at(1, Some(Parts::from([([9; 16], 0)])))), Err(Code::FencedMemberEpoch));
    let again = rig.send(at(1, Some(owned.clone()))).unwrap();
    assert_eq!((again.epoch, rig.group.epoch), (2, 2));
    // One that lost everything joins again under its id and gets it all back.
    let rejoined = rig.send(Rig::joining("a", &["rain"])).unwrap();
    assert_eq!((rejoined.epoch, rejoined.assignment), (2, Some(owned)));
    assert_eq!(rig.group.check_offsets("a", 1), Err(Code::StaleMemberEpoch));
    assert_eq!(rig.group.check_offsets("c", 1), Err(Code::UnknownMemberId));
    assert_eq!(rig.group.check_offsets("", -1), Err(Code::UnknownMemberId));
}

#[test]
fn a_static_member_that_comes_back_keeps_what_it_had() {
    let mut rig = Rig::new(&[("rain", 1, 4)]);
    let fixed = |id: &str| Beat { instance_id: Some("one".into()), ..Rig::joining(id, &["rain"]) };
    rig.enter(fixed("a"));
    rig.join("b", &["rain"]);
    rig.settle();
    let had = rig.members["a"].1.clone();
    assert_eq!(rig.send(fixed("c")), Err(Code::UnreleasedInstanceId));
    let pause = Beat { epoch: -2, ..fixed("a") };
    assert_eq!(rig.send(pause.clone()).unwrap().epoch, -2);
    let back = rig.enter(fixed("c"));
    assert_eq!((back.epoch, back.assignment, rig.group.epoch), (2, Some(had), 2));
    let old = Beat { epoch: 2, ..fixed("a") };
    assert_eq!(rig.send(old), Err(Code::FencedInstanceId));
    assert_eq!(rig.send(pause), Err(Code::FencedInstanceId));
    let leave = Beat { epoch: -1, ..fixed("c") };
    assert_eq!(rig.send(leave).unwrap().epoch, -1);
    rig.members = BTreeMap::from([("b".into(), rig.members["b"].clone())]);
    rig.settle();
    assert_eq!(rig.sizes(), [4]);
}

#[test]
fn new_partitions_and_topics_are_assigned() {
    let mut rig = Rig::new(&[("rain", 1, 2), ("sun", 2, 1)]);
    rig.join("a", &["rain", "hail"]);
    rig.settle();
    assert_eq!(rig.sizes(), [2]);
    rig.topics.set("sun", 2, 9);
    rig.settle();
    assert_eq!(rig.group.epoch, 1, "nobody reads it");
    rig.topics.set("rain", 1, 5);
    rig.topics.set("hail", 3, 1);
    rig.settle();
    assert_eq!((rig.sizes(), rig.group.epoch), (vec![6], 2));
    // Deleted and made again, it is another topic.
    rig.topics.set("rain", 4, 2);
    rig.settle();
    assert_eq!(rig.members["a"].1, Parts::from([([3; 16], 0), ([4; 16], 0), ([4; 16], 1)]));
}

#[test]
fn a_regular_expression_matches_whole_names() {
    let mut rig = Rig::new(&[("rain", 1, 2), ("rain-2", 2, 1), ("train", 3, 1)]);
    let of = |regex: &str| Beat { topics: None, regex: Some(regex.into()), ..Rig::joining("a", &[]) };
    assert_eq!(rig.send(of("rain(")), Err(Code::InvalidRegularExpression));
    assert!(rig.group.is_idle());
    rig.enter(of("rain.*"));
    assert_eq!(rig.sizes(), [3]);
    rig.topics.set("rain-3", 4, 4);
    rig.settle();
    assert_eq!(rig.sizes(), [7]);
    assert!(rig.group.subscribes_to("rain-9") && !rig.group.subscribes_to("train"));
    let narrower = Beat { epoch: rig.members["a"].0, owned: None, ..of("rain") };
    rig.enter(narrower);
    rig.settle();
    assert_eq!(rig.sizes(), [2]);
}

#[test]
fn a_full_group_takes_nobody_and_range_is_served() {
    let mut rig = Rig::new(&[("rain", 1, 3)]);
    for id in ["a", "b", "c"] {
        rig.enter(Beat { assignor: Some(Assignor::Range), ..Rig::joining(id, &["rain"]) });
    }
    assert_eq!(rig.send(Rig::joining("d", &["rain"])), Err(Code::GroupMaxSizeReached));
    rig.settle();
    assert_eq!((rig.sizes(), rig.group.assignor), (vec![1, 1, 1], Assignor::Range));
    assert_eq!(rig.members["b"].1, Parts::from([([1; 16], 1)]));
    for id in ["a", "b", "c"] {
        rig.send(Beat { member_id: id.into(), epoch: -1, ..Beat::default() }).unwrap();
    }
    assert_eq!((rig.group.state(), rig.group.is_idle(), rig.group.owners.len()), ("Empty", true, 0));
    assert_eq!(rig.group.check_offsets("", -1), Ok(()));
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let mut rig = Rig::new(&[("rain", 1, 4)]);
    rig.join("a", &["rain"]);
    assert_eq!(rig.written, 2, "the group and its member");
    rig.join("b", &["rain"]);
    assert_eq!(rig.written, 5, "the group and both members");
    rig.settle();
    let written = rig.written;
    rig.settle();
    rig.topics.set("sun", 2, 1);
    rig.settle();
    // A whole heartbeat of what is known.
    let (epoch, owned) = rig.members["a"].clone();
    rig.send(Beat { epoch, owned: Some(owned), ..Rig::joining("a", &["rain"]) }).unwrap();
    assert_eq!(rig.written, written);
    rig.send(Beat { epoch, owned: None, client_host: "/h".into(), ..Rig::joining("a", &["rain"]) }).unwrap();
    assert_eq!((rig.written, rig.group.epoch), (written + 1, 2), "that is all of one member");
}

#[test]
fn a_restart_at_any_step_changes_nothing() {
    let run = |restarts: bool| {
        let mut rig = Rig::new(&[("rain", 1, 4), ("rain-2", 2, 3)]);
        let mut told = Vec::new();
        let regex = Beat { topics: None, regex: Some("rain.*".into()), ..Rig::joining("a", &[]) };
        let fixed = |id: &str| Beat { instance_id: Some("one".into()), ..Rig::joining(id, &["rain"]) };
        let pause = Beat { epoch: EPOCH_PAUSE, ..fixed("b") };
        let gone = Beat { epoch: EPOCH_LEAVE, member_id: "c".into(), ..Beat::default() };
        for beat in [regex, fixed("b"), Rig::joining("c", &["rain-2"]), pause, fixed("d"), gone] {
            let id = beat.member_id.clone();
            let beaten = rig.send(beat).unwrap();
            match beaten.epoch {
                ..0 => _ = rig.members.remove(&id),
                epoch => _ = rig.members.insert(id, (epoch, beaten.assignment.clone().unwrap())),
            }
            told.push(beaten);
            for _ in 0..3 {
                for id in rig.members.keys().cloned().collect::<Vec<_>>() {
                    if restarts {
                        rig.restart();
                    }
                    told.push(rig.beat(&id).unwrap());
                }
            }
        }
        (told, rig.written, rig.head)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_restart_gives_members_their_whole_time() {
    let mut rig = Rig::new(&[("rain", 1, 4)]);
    rig.join("a", &["rain"]);
    rig.join("b", &["rain"]);
    // It is told to give two back, and does not.
    rig.beat("a").unwrap();
    rig.now_ms = SESSION_MS - 1;
    rig.restart();
    rig.group.on_time(2 * SESSION_MS - 2);
    assert_eq!(rig.group.members.len(), 2);
    for id in ["a", "b"] {
        rig.now_ms = 2 * SESSION_MS - 2;
        let epoch = rig.members[id].0;
        rig.send(Beat { member_id: id.into(), epoch, ..Beat::default() }).unwrap();
    }
    rig.group.on_time(SESSION_MS - 1 + REBALANCE_MS);
    assert_eq!(rig.group.members.keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn an_assignment_that_was_not_all_written_is_made_anew() {
    let mut rig = Rig::new(&[("rain", 1, 4)]);
    rig.join("a", &["rain"]);
    rig.settle();
    let head = rig.head;
    let of_a = rig.stored["a"].clone();
    rig.join("b", &["rain"]);
    // Of the second assignment only the newcomer was written.
    rig.head = head;
    rig.stored.insert("a".into(), of_a);
    let mut group = ConsumerGroup::new(settings());
    (group.epoch, group.assignment_epoch, group.assignor, group.resolved.digest) = rig.head;
    for (id, stored) in &rig.stored {
        group.restore(id.clone(), decode(stored).unwrap()).unwrap();
    }
    assert_eq!(group.state(), "Assigning");
    rig.group = group;
    rig.settle();
    assert_eq!(rig.sizes(), [2, 2]);
}
