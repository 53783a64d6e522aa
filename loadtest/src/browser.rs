//! One measuring browser: its handshake, its hello, and the account of what it was sent.

use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use mio::net::TcpStream;
use serde_json::Value;

use crate::account::Account;
use crate::event::Stamp;
use crate::websocket::{self, Header};

/// How far a browser has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// TCP is being opened, or the answer to the handshake awaited.
    Opening,
    /// The hello is sent.
    Greeting,
    /// Welcome: a member of its groups.
    Member,
    /// Over, by either side.
    Ended,
}

/// What is shared by all browsers of a run while they read.
pub struct Ears {
    /// The read buffer: one is enough, since frames are looked at as they arrive.
    pub scratch: Box<[u8]>,
    /// Raw latencies, nanoseconds.
    pub samples: Vec<u64>,
    /// The first frame with a measured event.
    pub template: Arc<OnceLock<Vec<u8>>>,
}

/// A browser and its socket.
pub struct Browser {
    pub stream: TcpStream,
    pub stage: Stage,
    pub account: Account,
    /// Whether it has been told not to read.
    pub stalled: bool,
    /// Whether its latencies are sampled.
    pub sampled: bool,
    /// Why it ended, if it did.
    pub fault: Option<String>,
    /// The beginning of a frame whose rest has not arrived.
    carry: Vec<u8>,
    hello: Vec<u8>,
}

impl Browser {
    /// A browser whose TCP connection is being opened.
    pub fn new(stream: TcpStream, token: &str) -> Self {
        let hello = format!(r#"{{"type":"hello","token":"{token}","client":"loadtest/0.1"}}"#);
        Self {
            stream,
            stage: Stage::Opening,
            account: Account::default(),
            stalled: false,
            sampled: true,
            fault: None,
            carry: Vec::new(),
            hello: websocket::masked_text(hello.as_bytes()),
        }
    }

    /// Sends the handshake once TCP is open; whether it was sent.
    pub fn open(&mut self, request: &[u8]) -> bool {
        match self.stream.peer_addr() {
            Ok(_) => {
                let _ = self.stream.set_nodelay(true);
                self.say(request);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                if let Ok(Some(error)) | Err(error) = self.stream.take_error() {
                    self.end(format!("cannot connect: {error}"));
                }
                false
            }
            Err(error) => {
                self.end(format!("cannot connect: {error}"));
                false
            }
        }
    }

    /// Reads all that is there. A short read ends it without asking the kernel again: readiness is
    /// edge-triggered, and on a stream socket a short read means that the edge is used up (epoll(7)).
    pub fn read(&mut self, ears: &mut Ears) {
        while self.stage != Stage::Ended {
            let mut scratch = std::mem::take(&mut ears.scratch);
            let room = scratch.len();
            let outcome = self.stream.read(&mut scratch);
            let got = match outcome {
                Ok(0) => {
                    self.end("closed without a close frame".to_owned());
                    0
                }
                Ok(got) => {
                    self.take(&scratch[..got], ears);
                    got
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => room,
                Err(error) => {
                    self.end(format!("read failed: {error}"));
                    0
                }
            };
            ears.scratch = scratch;
            if got < room {
                return;
            }
        }
    }

    fn take(&mut self, bytes: &[u8], ears: &mut Ears) {
        let now = Instant::now();
        if self.carry.is_empty() {
            let used = self.consume(bytes, now, ears);
            self.carry.extend_from_slice(&bytes[used..]);
            return;
        }
        let mut whole = std::mem::take(&mut self.carry);
        whole.extend_from_slice(bytes);
        let used = self.consume(&whole, now, ears);
        whole.drain(..used);
        if !whole.is_empty() {
            self.carry = whole;
        }
    }

    /// Takes whole messages off the front of `bytes`; how many bytes that was.
    fn consume(&mut self, bytes: &[u8], now: Instant, ears: &mut Ears) -> usize {
        let mut used = 0;
        while self.stage != Stage::Ended {
            let rest = &bytes[used..];
            let step = match self.stage {
                Stage::Opening => websocket::parse_response(rest).inspect(|length| {
                    if length.is_some() {
                        self.stage = Stage::Greeting;
                        let hello = std::mem::take(&mut self.hello);
                        self.say(&hello);
                    }
                }),
                _ => Header::parse(rest).map(|header| {
                    let header = header.filter(|h| rest.len() >= h.header + h.payload)?;
                    let length = header.header + header.payload;
                    self.frame(header, &rest[..length], now, ears);
                    Some(length)
                }),
            };
            match step {
                Ok(Some(length)) => used += length,
                Ok(None) => return used,
                Err(malformed) => self.end(malformed.to_string()),
            }
        }
        bytes.len()
    }

    fn frame(&mut self, header: Header, frame: &[u8], now: Instant, ears: &mut Ears) {
        let payload = &frame[header.header..];
        match header.opcode {
            websocket::TEXT => {
                if let Some(stamp) = Stamp::find(payload) {
                    self.account.event(stamp.seq);
                    if self.sampled {
                        ears.samples.push(stamp.age(now).as_nanos() as u64);
                    }
                    if ears.template.get().is_none() {
                        let _ = ears.template.set(frame.to_vec());
                    }
                } else {
                    self.message(payload);
                }
            }
            websocket::PING => self.say(&websocket::masked_pong(payload)),
            websocket::CLOSE => {
                let code = payload.first_chunk().map_or(1005, |&code| u16::from_be_bytes(code));
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                self.end(format!("closed with {code} {reason}"));
            }
            other => self.end(format!("frame with opcode {other}")),
        }
    }

    /// Anything but a measured event: rare, so it may be parsed in full.
    fn message(&mut self, payload: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Value>(payload) else {
            return self.end("a text frame that is not JSON".to_owned());
        };
        match message["type"].as_str() {
            Some("welcome") => {
                let groups = message["groups"].as_array().map_or(&[][..], Vec::as_slice);
                match groups.iter().find(|group| !group["error"].is_null()) {
                    Some(refused) => self.end(format!("refused a group: {refused}")),
                    None => self.stage = Stage::Member,
                }
            }
            Some("ping") => self.say(&websocket::masked_text(br#"{"type":"pong"}"#)),
            Some("gap") => {
                self.account.gaps += 1;
                self.account.told_lost += message["lost"].as_u64().unwrap_or(0);
            }
            Some("error") => self.end(format!("the gateway answers {message}")),
            _ => {}
        }
    }

    /// Writes a short frame. The few bytes that a client says always fit an idle socket's buffer.
    fn say(&mut self, bytes: &[u8]) {
        match self.stream.write(bytes) {
            Ok(written) if written == bytes.len() => {}
            Ok(written) => self.end(format!("socket took {written} of {} bytes", bytes.len())),
            Err(error) => self.end(format!("write failed: {error}")),
        }
    }

    /// Ends it; the first reason stays.
    pub fn end(&mut self, why: String) {
        self.stage = Stage::Ended;
        self.fault.get_or_insert(why);
    }
}
