//! What is written to Redis, compared with what the real library was recorded writing.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::Value;

use super::bare::BareDrain;
use super::group_send::{ChannelLayer, RECORDING, Sent, Settings};
use super::*;
use crate::publishers::now;

#[derive(Deserialize)]
struct Recording {
    script: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    settings: Settings,
    now: f64,
    /// Members in the order in which Python's `dict` has them.
    message: Vec<(String, Value)>,
    prefixes: VecDeque<String>,
    sends: usize,
    turns: Vec<Turn>,
}

/// All that the library wrote before it waited, and what it then got. Bytes as Latin-1.
#[derive(Deserialize)]
struct Turn {
    written: String,
    answer: String,
}

fn bytes(latin: &str) -> Vec<u8> {
    latin.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// Plays Redis as recorded; fails at the first byte that the library did not write.
fn play(listener: &TcpListener, turns: &[(Vec<u8>, Vec<u8>)]) {
    let (mut stream, _) = listener.accept().unwrap();
    for (number, (written, answer)) in turns.iter().enumerate() {
        let mut got = vec![0; written.len()];
        stream.read_exact(&mut got).unwrap();
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(show(&got), show(written), "turn {number}");
        assert!(nothing_more(&stream), "turn {number} goes on without waiting");
        stream.write_all(answer).unwrap();
    }
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "something follows the last answer");
}

fn nothing_more(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    peeked.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
}

fn object(members: &[(String, Value)]) -> String {
    let members = members.iter().map(|(key, value)| format!(r#""{key}":{value}"#));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

#[test]
fn writes_a_group_send_as_the_library_does() {
    let recording: Recording = serde_json::from_str(RECORDING).unwrap();
    assert!(recording.cases.len() >= 5);
    for mut case in recording.cases {
        let turn = |turn: &Turn| {
            let written = turn.written.replace("{script}", &recording.script);
            (bytes(&written), bytes(&turn.answer))
        };
        let turns: Vec<_> = case.turns.iter().map(turn).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || play(&listener, &turns));
        let prefixes = move |prefix: &mut [u8]| {
            let recorded = case.prefixes.pop_front().expect("as many messages as recorded");
            prefix.copy_from_slice(&HEXLOWER.decode(recorded.as_bytes()).unwrap());
        };
        let mut layer = ChannelLayer::connect(address, case.settings, 0).unwrap();
        layer.prefixes = Box::new(prefixes);
        let mut full = 0;
        for _ in 0..case.sends {
            full = layer.group_send("usuario_7", object(&case.message), case.now).unwrap().full;
        }
        drop(layer);
        server.join().unwrap_or_else(|_| panic!("{} is written otherwise", case.name));
        assert_eq!(full, case.sends - 1, "{}: only a second one finds no room", case.name);
    }
}

#[test]
fn reads_command_calls_from_info() {
    let info = "# Commandstats\r\ncmdstat_ping:calls=2,usec=1,usec_per_call=0.50\r\n\
        cmdstat_client|setname:calls=30,usec=8\r\nelse:calls=9\r\n";
    let expected = [("client|setname".to_owned(), 30), ("ping".to_owned(), 2)];
    assert_eq!(calls(info), BTreeMap::from(expected));
}

#[test]
fn the_recording_matches_what_the_library_writes() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = here.join("../target/venv/bin/python");
    assert!(interpreter.exists(), "Django's libraries are not installed: run `make setup`");
    // No bytecode is left beside the script.
    let script = here.join("recorded/record.py");
    let status = Command::new(interpreter).arg("-B").arg(script).arg("--check").status().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn a_full_mailbox_is_reported_until_it_is_drained() {
    let server = start().unwrap();
    let settings = Settings { capacity: 3, ..Settings::default() };
    let mut layer = ChannelLayer::connect(server.address(), settings, 0).unwrap();
    let message = r#"{"type":"aviso"}"#;
    let mut send = || layer.group_send("usuario_7", message.to_owned(), now()).unwrap();
    assert_eq!(send(), Sent { mailboxes: 0, full: 0 });

    let mut connection = Connection::open(server.address()).unwrap();
    let now = format!("{:?}", now());
    let member = b"groupcast.control.0!usuario_7";
    connection.ask(&[b"ZADD", b"asgi:group:usuario_7", now.as_bytes(), member]).unwrap();
    let full = [(); 5].map(|()| send().full);
    assert_eq!(full, [0, 0, 0, 1, 1]);
    assert_eq!(commands(&server).unwrap()["eval"], 5);

    let drain = BareDrain::start(server.address(), &[]).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while drain.taken() < 3 {
        assert!(Instant::now() < until, "three messages wait and {} are taken", drain.taken());
        thread::yield_now();
    }
    assert_eq!(send().full, 0);
    drain.stop().unwrap();
}
