//! A client that sends arbitrary bytes and reads only when the test asks for it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{Answer, soon};

/// Opcodes of frames (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// A TCP connection and what was read from it but not used yet.
pub(crate) struct Raw {
    stream: TcpStream,
    input: Vec<u8>,
}

/// One frame as a client sends it.
pub(crate) fn client_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![u8::from(fin) << 7 | opcode as u8];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A handshake with the key of RFC 6455 section 1.3. `headers` are lines without line ends.
pub(crate) fn upgrade_request(path: &str, headers: &[&str]) -> String {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: gateway.example\r\nUpgrade: websocket\r\n\
         Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request + "\r\n"
}

impl Raw {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(to)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, input: Vec::new() }
    }

    /// A connection from another address of the loopback network.
    pub(crate) async fn connect_from(from: [u8; 4], to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = soon("a connection", socket.connect(to)).await.unwrap();
        Self { stream, input: Vec::new() }
    }

    /// A connection whose kernel keeps as little unread as it can, so that few bytes fill it.
    pub(crate) async fn connect_narrow(to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = soon("a connection", socket.connect(to)).await.unwrap();
        Self { stream, input: Vec::new() }
    }

    /// Sends a handshake and returns any answer.
    pub(crate) async fn upgrade(&mut self, path: &str, headers: &[&str]) -> Answer {
        self.write(upgrade_request(path, headers).as_bytes()).await;
        self.answer().await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon("room to write", self.stream.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.write(&client_frame(true, opcode, payload)).await;
    }

    /// The head of an HTTP answer, with as much of its body as it declares.
    pub(crate) async fn answer(&mut self) -> Answer {
        loop {
            if let Some(end) = self.input.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.input.drain(..end + 4).collect();
                let mut answer = Answer::parse(&String::from_utf8(head).unwrap());
                let length = answer.header("content-length").map_or(0, |n| n.parse().unwrap());
                while self.input.len() < length {
                    assert!(self.read().await, "the body is complete_config");
                }
                answer.body = String::from_utf8(self.input.drain(..length).collect()).unwrap();
                return answer;
            }
            assert!(self.read().await, "an answer comes before the end");
        }
    }

    /// The next frame of the gateway; `None` = the connection ended.
    pub(crate) async fn next(&mut self) -> Option<(Opcode, Vec<u8>)> {
        loop {
            if let Some((header, length)) = frame_length(&self.input) {
                let frame: Vec<u8> = self.input.drain(..header + length).collect();
                assert_eq!(
                    frame[0] & 0xf0,
                    0x80,
                    "every frame is complete_config and without extensions"
                );
                return Some((opcode(frame[0] & 0x0f), frame[header..].to_vec()));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next byte of anything; `None` = the connection ended.
    pub(crate) async fn next_byte(&mut self) -> Option<u8> {
        if self.input.is_empty() && !self.read().await {
            return None;
        }
        Some(self.input.remove(0))
    }

    /// The next frame, which is text.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some((Opcode::Text, text)) => String::from_utf8(text).unwrap(),
            other => panic!("a text was expected, not {other:?}"),
        }
    }

    /// The code of the next frame, which is a close.
    pub(crate) async fn close_code(&mut self) -> u16 {
        match self.next().await {
            Some((Opcode::Close, payload)) => u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("a close was expected, not {other:?}"),
        }
    }

    async fn read(&mut self) -> bool {
        let read = soon("something to read", self.stream.read_buf(&mut self.input)).await;
        // A reset is an end as well.
        read.is_ok_and(|length| length > 0)
    }
}

/// Lengths of the first frame's header and payload, once both are there.
fn frame_length(input: &[u8]) -> Option<(usize, usize)> {
    let (header, length) = match *input.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(input.get(2..10)?.try_into().ok()?) as usize),
        short => {
            assert!(short < 126, "a gateway does not mask");
            (2, usize::from(short))
        }
    };
    (input.len() >= header + length).then_some((header, length))
}

fn opcode(bits: u8) -> Opcode {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    let all = [Continuation, Text, Binary, Close, Ping, Pong];
    all.into_iter().find(|opcode| *opcode as u8 == bits).expect("a known opcode")
}
