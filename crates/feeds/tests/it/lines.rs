//! Lines over TCP.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use pluvio_catalog::{FeedDef, LinesDef};
use pluvio_feeds::{FeedState, Feeds};

use crate::rig::{Rig, wait_for};

fn def() -> LinesDef {
    LinesDef {
        listen: "127.0.0.1:0".parse().unwrap(),
        allow: Vec::new(),
        connections_max: 256,
        line_bytes_max: 1 << 20,
        idle_timeout_ms: 60_000,
    }
}

/// A feed that listens, and where.
fn listening(def: LinesDef) -> (Rig, Feeds, SocketAddr) {
    let rig = Rig::new();
    rig.stream(FeedDef::Lines(def), 1);
    let feeds = rig.feeds();
    let status = wait_for(&feeds, |status| status.state == FeedState::Running);
    let address = status.source.parse().unwrap();
    (rig, feeds, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

/// Waits until the other side has closed the connection.
#[track_caller]
fn is_closed(mut socket: &TcpStream) {
    match socket.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_become_events() {
    let (rig, feeds, address) = listening(def());
    let mut socket = connect(address);
    socket.write_all(b"one\r\n\ntwo\nthr").unwrap();
    rig.expect(&["one", "two"]);
    socket.write_all(b"ee\nlast").unwrap();
    rig.expect(&["one", "two", "three"]);
    socket.shutdown(Shutdown::Write).unwrap();
    rig.expect(&["one", "two", "three", "last"]);
    assert_eq!(rig.values(), ["one", "two", "three", "last"], "in order");
    let peer = socket.local_addr().unwrap().to_string();
    assert!(rig.events().iter().all(|event| event.header("peer") == Some(&peer)));
    is_closed(&socket);
    let status = wait_for(&feeds, |status| status.events == 4);
    assert_eq!((status.kind, status.bytes, status.skipped), ("lines", 15, 0));
}

#[test]
fn many_lines_of_many_peers() {
    let (rig, feeds, address) = listening(def());
    let peers: Vec<_> = (0..8)
        .map(|peer| {
            std::thread::spawn(move || {
                let mut socket = connect(address);
                let text: String = (0..20_000).map(|line| format!("{peer} {line}\n")).collect();
                socket.write_all(text.as_bytes()).unwrap();
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join().unwrap());
    wait_for(&feeds, |status| status.events == 160_000);
    let values = rig.values();
    for peer in 0..8 {
        let prefix = format!("{peer} ");
        let lines = values.iter().filter_map(|value| value.strip_prefix(&prefix));
        assert!(lines.eq((0..20_000).map(|line| line.to_string())), "peer {peer}");
    }
}

#[test]
fn long_lines_are_left_out() {
    let (rig, feeds, address) = listening(LinesDef { line_bytes_max: 10, ..def() });
    let mut socket = connect(address);
    let long = "x".repeat(1 << 20);
    socket.write_all(format!("0123456789\n01234567890\n{long}\nend\n").as_bytes()).unwrap();
    rig.expect(&["0123456789", "end"]);
    assert_eq!(wait_for(&feeds, |status| status.events == 2).skipped, 2);
    // Nothing of a long line becomes an event when its sender goes.
    socket.write_all(long.as_bytes()).unwrap();
    drop(socket);
    wait_for(&feeds, |status| status.skipped == 3);
    let mut socket = connect(address);
    socket.write_all(b"next\n").unwrap();
    rig.expect(&["0123456789", "end", "next"]);
}

#[test]
fn too_many_connections_are_closed() {
    let (rig, feeds, address) = listening(LinesDef { connections_max: 2, ..def() });
    let sockets: Vec<_> = (1..=2)
        .map(|count| {
            let mut socket = connect(address);
            socket.write_all(b"in\n").unwrap();
            wait_for(&feeds, |status| status.events == count);
            socket
        })
        .collect();
    is_closed(&connect(address));
    drop(sockets);
    // There is room again once the feed has seen them go.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let mut socket = connect(address);
        let _ = socket.write_all(b"again\n");
        let _ = socket.shutdown(Shutdown::Write);
        // Closed either way: with the line taken, or without.
        is_closed(&socket);
        if rig.values().contains(&"again".to_owned()) {
            break;
        }
        assert!(std::time::Instant::now() < until);
    }
}

#[test]
fn peers_outside_of_the_list_are_sent_away() {
    let allow = vec!["10.0.0.0/8".parse().unwrap()];
    let (rig, _feeds, address) = listening(LinesDef { allow, ..def() });
    let mut socket = connect(address);
    let _ = socket.write_all(b"let me in\n");
    is_closed(&socket);
    assert!(rig.events().is_empty());
    let allow = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap()];
    let (rig, _feeds, address) = listening(LinesDef { allow, ..def() });
    connect(address).write_all(b"let me in\n").unwrap();
    rig.expect(&["let me in"]);
}

#[test]
fn idle_connections_are_closed() {
    let (rig, _feeds, address) = listening(LinesDef { idle_timeout_ms: 50, ..def() });
    let mut socket = connect(address);
    socket.write_all(b"one\nunfin").unwrap();
    is_closed(&socket);
    assert_eq!(rig.values(), ["one"]);
}

#[test]
fn a_stop_takes_what_was_received() {
    let (rig, feeds, address) = listening(def());
    let mut socket = connect(address);
    socket.write_all(b"first\n").unwrap();
    rig.expect(&["first"]);
    let text: String = (0..2_000).map(|line| format!("{line}\n")).collect();
    socket.write_all(text.as_bytes()).unwrap();
    socket.write_all(b"unfinished").unwrap();
    feeds.stop();
    assert_eq!(rig.events().len(), 2_001);
    is_closed(&socket);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_port_in_use_is_told_and_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let rig = Rig::new();
    rig.stream(FeedDef::Lines(LinesDef { listen, ..def() }), 1);
    let feeds = rig.feeds();
    let status = wait_for(&feeds, |status| status.state == FeedState::Failed);
    assert!(status.error.unwrap().contains(&listen.to_string()));
    drop(taken);
    wait_for(&feeds, |status| status.state == FeedState::Running && status.error.is_none());
    connect(listen).write_all(b"one\n").unwrap();
    rig.expect(&["one"]);
}
