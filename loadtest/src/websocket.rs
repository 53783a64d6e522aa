//! As much of RFC 6455 as a measuring client needs: the handshake, headers of frames, masking.

use std::fmt;

/// The sample nonce of RFC 6455 section 1.3. One for all: nothing here stands between client and
/// server that a fixed nonce could confuse, and its answer need not be computed.
const NONCE: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The subprotocol that clients offer.
pub const SUBPROTOCOL: &str = "groupcast.v1.json";

/// Longest answer to a handshake that is read.
const MAX_RESPONSE: usize = 8 * 1024;

/// Opcodes (RFC 6455 section 5.2).
pub const TEXT: u8 = 0x1;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Any key will do: masking protects proxies from scripts, and there are neither.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a server sent that a server must not send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The client's half of the handshake.
pub fn request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {NONCE}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into_bytes()
}

/// The server's half, for the control.
pub fn response() -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into_bytes()
}

/// Length of the server's half in `bytes`; `None` while it is incomplete.
pub fn parse_response(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if bytes.len() > MAX_RESPONSE {
            return Err(Malformed(format!("handshake answer over {MAX_RESPONSE} bytes")));
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        return Err(Malformed(format!("handshake answered with {status:?}")));
    }
    let header = |name: &str| {
        head.split("\r\n").skip(1).filter_map(|line| line.split_once(':')).find_map(
            |(key, value)| key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned()),
        )
    };
    for (name, expected) in
        [("Sec-WebSocket-Accept", ACCEPT), ("Sec-WebSocket-Protocol", SUBPROTOCOL)]
    {
        let found = header(name);
        if found.as_deref() != Some(expected) {
            return Err(Malformed(format!("{name} is {found:?} instead of {expected:?}")));
        }
    }
    Ok(Some(end + 4))
}

/// The header of one frame from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub opcode: u8,
    /// Bytes before the payload.
    pub header: usize,
    /// Bytes of payload.
    pub payload: usize,
}

impl Header {
    /// Reads a header; `None` while it is incomplete. Fragments are not expected from a gateway
    /// that encodes whole frames, so they are malformed here.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0xF0 != 0x80 {
            return Err(Malformed(format!(
                "frame begins with {first:#04x}: a fragment or RSV bit"
            )));
        }
        if second & 0x80 != 0 {
            return Err(Malformed("a frame from the server is masked".to_owned()));
        }
        let length = |width: usize| {
            rest.get(..width).map(|bytes| bytes.iter().fold(0, |sum, &b| sum << 8 | usize::from(b)))
        };
        let (width, payload) = match second & 0x7F {
            126 => (2, length(2)),
            127 => (8, length(8)),
            short => (0, Some(usize::from(short))),
        };
        Ok(payload.map(|payload| Self { opcode: first & 0x0F, header: 2 + width, payload }))
    }
}

/// A text frame as a client sends it.
pub fn masked_text(payload: &[u8]) -> Vec<u8> {
    masked(TEXT, payload)
}

/// The answer to a ping, as a client sends it.
pub fn masked_pong(payload: &[u8]) -> Vec<u8> {
    masked(PONG, payload)
}

fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len(), 0x80);
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A text frame as a server sends it, for the control.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = header(TEXT, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

fn header(opcode: u8, payload: usize, mask_bit: u8) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload {
        0..=125 => frame.push(mask_bit | payload as u8),
        126..=0xFFFF => {
            frame.push(mask_bit | 126);
            frame.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            frame.push(mask_bit | 127);
            frame.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_three_lengths_are_read_and_wait_for_their_bytes() {
        for payload in [0, 125, 126, 65_535, 65_536] {
            let frame = text(&vec![b'x'; payload]);
            let header = Header::parse(&frame).unwrap().unwrap();
            assert_eq!((header.opcode, header.payload), (TEXT, payload));
            assert_eq!(header.header + payload, frame.len());
            assert_eq!(Header::parse(&frame[..header.header - 1]).unwrap(), None);
        }
    }

    #[test]
    fn masked_and_fragmented_frames_are_refused() {
        assert!(Header::parse(&masked_text(b"{}")).is_err());
        assert!(Header::parse(&[0x01, 0]).is_err());
    }

    #[test]
    fn masking_twice_gives_the_payload_back() {
        let frame = masked_text(b"hello");
        let plain: Vec<u8> =
            frame[6..].iter().zip(MASK.iter().cycle()).map(|(b, k)| b ^ k).collect();
        assert_eq!((frame[0], frame[1], plain.as_slice()), (0x81, 0x85, b"hello".as_slice()));
    }

    #[test]
    fn a_handshake_is_taken_whole_and_only_with_the_right_answer() {
        let mut bytes = response();
        assert_eq!(parse_response(&bytes[..bytes.len() - 1]).unwrap(), None);
        let length = bytes.len();
        bytes.extend_from_slice(b"\x81\x00");
        assert_eq!(parse_response(&bytes).unwrap(), Some(length));
        let other = String::from_utf8(response()).unwrap().replace("s3pP", "xxxx");
        assert!(parse_response(other.as_bytes()).is_err());
        assert!(parse_response(b"HTTP/1.1 503 Busy\r\n\r\n").is_err());
    }
}
