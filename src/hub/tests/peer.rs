//! The browser's end of a connection to a shard under test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use crate::event::ConnectionId;

/// Longest wait for bytes that are on their way through the loopback.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that reads only on demand.
pub(super) struct Peer {
    pub(super) id: ConnectionId,
    socket: TcpStream,
    input: Vec<u8>,
}

/// What a client got.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Got {
    Json(Value),
    Ping,
    Pong,
    Close(Option<u16>),
    End,
}

/// Both ends of a connection; `small` = the kernel holds a few kilobytes only.
pub(super) fn pair(small: bool) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if small {
        client.set_recv_buffer_size(2048).unwrap();
    }
    client.connect(&listener.local_addr().unwrap().into()).unwrap();
    let (server, _) = listener.accept().unwrap();
    if small {
        SockRef::from(&server).set_send_buffer_size(4096).unwrap();
    }
    (server, client.into())
}

impl Peer {
    pub(super) fn new(id: ConnectionId, socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        Self { id, socket, input: Vec::new() }
    }

    /// The next frame, waiting for it.
    pub(super) fn next(&mut self) -> Got {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(got) = self.take() {
                return got;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing came; {} bytes of a frame", self.input.len());
            self.socket.set_nonblocking(false).unwrap();
            self.socket.set_read_timeout(Some(left)).unwrap();
            if self.fill() == 0 {
                return Got::End;
            }
        }
    }

    /// The frames that are there, without waiting.
    pub(super) fn drain(&mut self) -> Vec<Got> {
        self.socket.set_nonblocking(true).unwrap();
        let mut ended = false;
        while !ended {
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer) {
                Ok(0) => ended = true,
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => ended = true,
            }
        }
        let mut all: Vec<_> = std::iter::from_fn(|| self.take()).collect();
        if ended {
            all.push(Got::End);
        }
        all
    }

    /// The next frame, which is JSON.
    pub(super) fn json(&mut self) -> Value {
        match self.next() {
            Got::Json(value) => value,
            other => panic!("{other:?} in place of JSON"),
        }
    }

    /// The next frame, which is JSON of this `type`.
    pub(super) fn expect(&mut self, kind: &str) -> Value {
        let value = self.json();
        assert_eq!(value["type"], kind, "{value}");
        value
    }

    pub(super) fn send_text(&mut self, json: &str) {
        let frame = masked(0x81, json.as_bytes());
        self.send(&frame);
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.socket.set_nonblocking(false).unwrap();
        self.socket.write_all(bytes).unwrap();
    }

    pub(super) fn close(&mut self) {
        self.send(&masked(0x88, &1000_u16.to_be_bytes()));
    }

    /// Resets the connection: the gateway's next write fails.
    pub(super) fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(super) fn shut_down(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    fn fill(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let length = match self.socket.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{error}"),
        };
        self.input.extend_from_slice(&buffer[..length]);
        length
    }

    fn take(&mut self) -> Option<Got> {
        let (first, second) = (*self.input.first()?, *self.input.get(1)?);
        let (head, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes([*self.input.get(2)?, *self.input.get(3)?]))),
            127 => panic!("a frame of more than 64 KiB"),
            short => (2, usize::from(short)),
        };
        if self.input.len() < head + length {
            return None;
        }
        let frame: Vec<u8> = self.input.drain(..head + length).collect();
        let payload = &frame[head..];
        Some(match first {
            0x81 => Got::Json(serde_json::from_slice(payload).expect("a text frame is whole JSON")),
            0x89 => Got::Ping,
            0x8A => Got::Pong,
            0x88 => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                Got::Close(code)
            }
            other => panic!("frame of kind {other:#x}"),
        })
    }
}

/// A client's frame under the mask 0, which leaves the payload as it is.
pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
