//! The stored forms: what they are, and what is refused.

use bytes::Bytes;

use super::*;
use crate::kafka::groups::consumer::{Assignor, Member, Parts, Progress, Settings};
use crate::kafka::groups::member::{self, Joining};
use crate::kafka::groups::state::State;

fn classic() -> Kind {
    let mut group = Group::new(0, 0);
    (group.generation, group.state) = (7, State::Stable);
    for (text, value) in
        [(&mut group.protocol_type, "p"), (&mut group.protocol, "range"), (&mut group.leader, "a")]
    {
        value.clone_into(text);
    }
    let said = Joining {
        instance_id: Some("i".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout_ms: 10,
        rebalance_timeout_ms: 20,
        protocols: vec![("range".into(), Bytes::from_static(b"rain"))],
        ..Joining::default()
    };
    let assignment = Bytes::from_static(b"all");
    group
        .members
        .insert("a".into(), member::Member { assignment, synced: true, ..member::Member::new(said) });
    Kind::Classic(group)
}

fn consumer() -> Kind {
    let mut group = ConsumerGroup::new(Settings::default());
    (group.epoch, group.assignment_epoch, group.assignor) = (9, 8, Assignor::Range);
    group.resolved.digest = 0x0102_0304_0506_0708;
    Kind::Consumer(Box::new(group))
}

fn member() -> (Member, Parts) {
    let mut member = Member {
        epoch: 5,
        previous_epoch: 4,
        progress: Progress::Revoking,
        rebalance_timeout_ms: 60_000,
        rack_id: Some("r".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        assignor: Some(Assignor::Uniform),
        assigned: Parts::from([([1; 16], 0), ([2; 16], 1)]),
        revoking: Parts::from([([1; 16], 2)]),
        ..Member::default()
    };
    member.subscription.topics.insert("rain".into());
    (member, Parts::from([([1; 16], 0), ([1; 16], 3)]))
}

fn decoded(bytes: &[u8]) -> Result<(Kind, i64), String> {
    decode_group(bytes, || Group::new(0, 0), || ConsumerGroup::new(Settings::default()))
}

#[test]
fn round_trip() {
    for key in [Key::Group("g-ö".into()), Key::Member { group: "g".into(), id: "m".into() }] {
        assert_eq!(Key::decode(&key.encode()).unwrap(), key);
    }
    for kind in [classic(), consumer()] {
        let bytes = encode_group(&kind, 77);
        let (again, written_ms) = decoded(&bytes).unwrap();
        assert_eq!((encode_group(&again, 77), written_ms), (bytes, 77));
        assert_eq!((again.was_used(), again.is_idle()), (true, matches!(kind, Kind::Consumer(_))));
    }
    let (member, target) = member();
    let bytes = consumer::encode(&member, &target, 8);
    let again = consumer::decode(&bytes).unwrap();
    assert_eq!((&again.target, again.assignment_epoch, again.regex), (&target, 8, None));
    assert_eq!(consumer::encode(&again.member, &target, 8), bytes);
}

#[test]
fn the_stored_forms_are_frozen() {
    assert_eq!(Key::Group("g".into()).encode(), [1, 0, 1, b'g']);
    assert_eq!(Key::Member { group: "g".into(), id: "m".into() }.encode(), [2, 0, 1, b'g', 0, 1, b'm']);
    let head = [&[1, 2][..], &7_i64.to_be_bytes(), &[0, 0, 0, 9, 0, 0, 0, 8, 2, 1, 2, 3, 4, 5, 6, 7, 8]];
    assert_eq!(encode_group(&consumer(), 7), head.concat());
    let bytes = [
        &[1, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 7][..],
        b"\0\x01p\0\x05range\0\x01a\0\0\0\x01",
        b"\0\x01a\x01\0\x01i\0\x01c\0\x02/h",
        &[0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 20],
        b"\0\0\0\x01\0\x05range\0\0\0\x04rain\0\0\0\x03all",
    ];
    assert_eq!(encode_group(&classic(), 7), bytes.concat());
    let (member, target) = member();
    let parts = |topics: &[(u8, &[u8])]| {
        let one = |(id, partitions): &(u8, &[u8])| {
            let partitions = partitions.iter().flat_map(|index| [0, 0, 0, *index]);
            [
                &[*id; 16],
                &[0, 0, 0, (partitions.clone().count() / 4) as u8][..],
                &partitions.collect::<Vec<_>>(),
            ]
            .concat()
        };
        [vec![0, 0, 0, topics.len() as u8], topics.iter().flat_map(one).collect()].concat()
    };
    let bytes = [
        &[1, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 4, 1][..],
        &60_000_u64.to_be_bytes(),
        b"\0\x01\0\x01r\0\x01c\0\x02/h\x01\0\0\0\x01\0\x04rain\0",
        &parts(&[(1, &[0]), (2, &[1])]),
        &parts(&[(1, &[2])]),
        &parts(&[(1, &[0, 3])]),
    ];
    assert_eq!(consumer::encode(&member, &target, 8), bytes.concat());
}

#[test]
fn damage_and_newer_versions_are_refused() {
    let key = Key::Member { group: "g".into(), id: "m".into() }.encode();
    let (member, target) = member();
    let member = consumer::encode(&member, &target, 8);
    let groups = [classic(), consumer()].map(|kind| encode_group(&kind, 7));
    let refuses = |bytes: &[u8], decode: &dyn Fn(&[u8]) -> bool| {
        assert!(decode(bytes));
        assert!((0..bytes.len()).all(|length| !decode(&bytes[..length])));
        assert!(!decode(&[bytes, &[0]].concat()));
    };
    refuses(&key, &|bytes| Key::decode(bytes).is_ok());
    refuses(&member, &|bytes| consumer::decode(bytes).is_ok());
    groups.iter().for_each(|group| refuses(group, &|bytes| decoded(bytes).is_ok()));
    let is_newer = |refused: Option<String>| assert!(refused.unwrap().contains("newer"));
    is_newer(Key::decode(&[3, 0, 0]).err());
    is_newer(consumer::decode(&[2]).err());
    is_newer(decoded(&[2]).err());
    is_newer(decoded(&[1, 3, 0, 0, 0, 0, 0, 0, 0, 0]).err());
    let at = |bytes: &[u8], place: usize, value| {
        let mut bytes = bytes.to_vec();
        bytes[place] = value;
        bytes
    };
    is_newer(decoded(&at(&groups[1], 18, 3)).err());
    is_newer(consumer::decode(&at(&member, 13, 3)).err());
}
