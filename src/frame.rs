//! A WebSocket message, encoded once and written to any number of sockets.
//!
//! Frames from a server are not masked (RFC 6455 section 5.1), so the bytes on the wire are the
//! same for every receiver. A frame is immutable and contains no group, user or time.

use bytes::{BufMut, Bytes, BytesMut};

/// One whole unfragmented WebSocket frame: header and payload.
///
/// Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

/// Largest payload of a control frame (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Longest header that a server writes: two bytes and a 64-bit length.
const MAX_HEADER: usize = 10;

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

impl Frame {
    /// A text message. `payload` must be UTF-8; callers hold it as `str` or checked JSON.
    pub fn text(payload: &[u8]) -> Self {
        Self::text_of(&[payload])
    }

    /// A text message whose payload is the concatenation of `parts`, copied once.
    pub fn text_of(parts: &[&[u8]]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut bytes = BytesMut::with_capacity(MAX_HEADER + len);
        put_header(&mut bytes, TEXT, len);
        for part in parts {
            bytes.put_slice(part);
        }
        Self(bytes.freeze())
    }

    /// A ping without payload: the same two bytes for every connection, no allocation.
    pub fn ping() -> Self {
        Self(Bytes::from_static(&[FIN | PING, 0]))
    }

    /// The answer to a ping: its payload, at most 125 bytes by the protocol, returned.
    pub fn pong(payload: &[u8]) -> Self {
        Self::control(PONG, &[payload])
    }

    /// A close with `code` and `reason`; a reason over 123 bytes is a bug and is cut.
    pub fn close(code: u16, reason: &str) -> Self {
        let cut = reason.floor_char_boundary(MAX_CONTROL_PAYLOAD - 2);
        Self::control(CLOSE, &[&code.to_be_bytes(), &reason.as_bytes()[..cut]])
    }

    /// A close without a code, which answers a close that carried none.
    pub fn close_empty() -> Self {
        Self(Bytes::from_static(&[FIN | CLOSE, 0]))
    }

    fn control(opcode: u8, parts: &[&[u8]]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        debug_assert!(len <= MAX_CONTROL_PAYLOAD, "control payload of {len} bytes");
        let mut bytes = BytesMut::with_capacity(2 + len);
        put_header(&mut bytes, opcode, len);
        for part in parts {
            bytes.put_slice(part);
        }
        Self(bytes.freeze())
    }

    /// The bytes for the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length on the wire, header included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Always false, since a frame has at least a header; required by lints in addition to `len`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn put_header(bytes: &mut BytesMut, opcode: u8, len: usize) {
    bytes.put_u8(FIN | opcode);
    match len {
        0..=125 => bytes.put_u8(len as u8),
        126..=0xFFFF => {
            bytes.put_u8(126);
            bytes.put_u16(len as u16);
        }
        _ => {
            bytes.put_u8(127);
            bytes.put_u64(len as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_the_length_in_its_shortest_form() {
        for (len, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload = vec![b'x'; len];
            let frame = Frame::text(&payload);
            assert_eq!(frame.bytes(), [header, payload].concat(), "length {len}");
        }
    }

    #[test]
    fn a_close_frame_has_code_and_reason_within_125_bytes() {
        assert_eq!(Frame::close(4401, "no").bytes(), b"\x88\x04\x11\x31no");
        let long = Frame::close(4500, &"ñ".repeat(100));
        assert_eq!(long.len(), 2 + 2 + 122, "cut between characters, not inside one");
    }
}
