//! What is said to Redis, held to what the real library was recorded saying.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use data_encoding::HEXLOWER;
use serde::Deserialize;

use super::bare::BareDrain;
use super::group_send::{ChannelLayer, Message, RECORDING, Sent, Settings};
use super::*;
use crate::senders;

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
    message: Message,
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
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "something is said after the last answer");
}

fn nothing_more(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    peeked.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn a_group_send_is_said_as_the_library_says_it() {
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
        let random = move |prefix: &mut [u8]| {
            let recorded = case.prefixes.pop_front().expect("as many messages as recorded");
            prefix.copy_from_slice(&HEXLOWER.decode(recorded.as_bytes()).unwrap());
        };
        let mut layer = ChannelLayer::connect(address, case.settings, random).unwrap();
        let mut full = 0;
        for _ in 0..case.sends {
            full = layer.group_send("usuario_7", &case.message, case.now).unwrap().full;
        }
        drop(layer);
        server.join().unwrap_or_else(|_| panic!("{} is said otherwise", case.name));
        assert_eq!(
            full,
            case.sends - 1,
            "{}: only the recorded second one found no room",
            case.name
        );
    }
}

#[test]
fn calls_of_commands_are_read_from_info() {
    let info = "# Commandstats\r\ncmdstat_ping:calls=2,usec=1,usec_per_call=0.50\r\n\
        cmdstat_client|setname:calls=30,usec=8\r\nelse:calls=9\r\n";
    let expected = [("client|setname".to_owned(), 30), ("ping".to_owned(), 2)];
    assert_eq!(calls(info), BTreeMap::from(expected));
}

#[test]
fn the_recording_is_what_the_real_library_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = here.join("../target/venv/bin/python");
    assert!(interpreter.exists(), "Django's libraries are not installed: run `make install`");
    // No bytecode is left beside the script.
    let script = here.join("recorded/record.py");
    let status = Command::new(interpreter).arg("-B").arg(script).arg("--check").status().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn against_a_real_server_full_mailboxes_are_told_and_drained_ones_take_again() {
    let server = Server::start().unwrap();
    let settings = Settings { capacity: 3, ..Settings::default() };
    let random = senders::prefixes(0);
    let mut layer = ChannelLayer::connect(server.address(), settings, random).unwrap();
    let message: Message = vec![("type".to_owned(), "aviso".into())];
    let mut send = || layer.group_send("usuario_7", &message, senders::now()).unwrap();
    assert_eq!(send(), Sent { mailboxes: 0, full: 0 });

    let mut connection = server.connect().unwrap();
    let now = format!("{:?}", senders::now());
    let member = b"groupcast.control.0!usuario_7";
    connection.ask(&[b"ZADD", b"asgi:group:usuario_7", now.as_bytes(), member]).unwrap();
    let full = [(); 5].map(|()| send().full);
    assert_eq!(full, [0, 0, 0, 1, 1]);
    assert_eq!(server.commands().unwrap()["eval"], 5);

    let drain = BareDrain::start(server.address(), &[]).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while drain.taken() < 3 {
        assert!(Instant::now() < until, "three messages wait and {} are taken", drain.taken());
        thread::yield_now();
    }
    assert_eq!(send().full, 0);
    drain.stop().unwrap();
}
