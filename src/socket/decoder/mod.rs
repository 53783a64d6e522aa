//! Decodes inbound bytes into messages, as RFC 6455 requires of a server; text only.
//!
//! Frame headers are parsed by tungstenite. The rest is done here, because tungstenite's context
//! keeps a buffer of the largest message per connection: the token of a hello would stay in memory
//! for hours. Here all connections share the shard's scratch buffer, complete messages are borrowed
//! from it, and an idle connection owns no buffer at all.

mod inbound;
mod payload;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::Cursor;
use std::mem;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::frame::MAX_CONTROL_PAYLOAD;
use crate::protocol::Disconnect;

pub(crate) use inbound::Inbound;
use payload::{Payload, PayloadKind};

/// Longest frame header: two bytes, a 64-bit length, a mask (RFC 6455 section 5.2).
const MAX_HEADER: usize = 14;

/// The most frames of one message.
///
/// Browsers send one, or a few for large messages. Empty fragments cost a sender six bytes and
/// would otherwise keep a message open, and a decoder busy, without end.
const MAX_FRAGMENTS: u16 = 256;

/// Reads the frames of one client.
///
/// Owns heap only while a header, a payload or a fragmented message is incomplete: then at most
/// `max_message` bytes of text and 125 of a control frame that came between its fragments. The
/// default accepts no text: it replaces a decoder that is taken out while its messages are handled.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    max_message: u32,
    partial: Option<Box<Partial>>,
    /// After a close or a violation, when the framing cannot be trusted any more.
    ended: bool,
}

/// The incomplete part of the input.
#[derive(Debug, Default)]
struct Partial {
    /// The first `header_len` bytes of an incomplete header.
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// The frame whose payload is incomplete.
    payload: Option<Payload>,
    /// The text so far, unmasked, of all fragments.
    message: Vec<u8>,
    /// How many frames of a fragmented message have begun; 0 = none is open.
    fragments: u16,
    /// The payload so far, unmasked, of a control frame.
    control: Vec<u8>,
}

impl Decoder {
    /// A decoder for messages of at most `max_message` bytes, all fragments together.
    pub(crate) fn new(max_message: usize) -> Self {
        let max_message = u32::try_from(max_message).unwrap_or(u32::MAX);
        Self { max_message, partial: None, ended: false }
    }

    /// Takes the next message from the front of `input`.
    ///
    /// Call until `Ok(None)`: then `input` is used up and may be overwritten. Payloads are unmasked
    /// in place. After an [`Inbound::Close`] or an error all further input is discarded.
    ///
    /// # Errors
    /// [`Disconnect::BAD_FRAME`] for what RFC 6455 forbids a client, and for binary messages;
    /// [`Disconnect::TOO_LARGE`] as soon as a header announces more than the limits.
    pub(crate) fn decode<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Inbound<'a>>, Disconnect> {
        if self.ended {
            *input = &mut [];
            return Ok(None);
        }
        let next = self.next(input);
        if matches!(next, Err(_) | Ok(Some(Inbound::Close(_)))) {
            self.ended = true;
            self.partial = None;
            *input = &mut [];
        }
        next
    }

    fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Inbound<'a>>, Disconnect> {
        while let Some(mut payload) = self.begin_frame(input)? {
            let here = payload.left.min(input.len());
            let (bytes, rest) = mem::take(input).split_at_mut(here);
            *input = rest;
            payload.unmask(bytes);
            if payload.left > 0 {
                self.hold(&payload, bytes);
                self.partial.get_or_insert_default().payload = Some(payload);
                return Ok(None);
            }
            if let Some(message) = self.end_frame(&payload, bytes)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The current frame, or the next one if its header is complete.
    fn begin_frame(&mut self, input: &mut &mut [u8]) -> Result<Option<Payload>, Disconnect> {
        let (mut header, held) = match &mut self.partial {
            Some(partial) => match partial.payload.take() {
                Some(payload) => return Ok(Some(payload)),
                None => (partial.header, partial.header_len),
            },
            None => ([0; MAX_HEADER], 0),
        };
        if input.is_empty() {
            return Ok(None);
        }
        let filled = MAX_HEADER.min(held + input.len());
        header[held..filled].copy_from_slice(&input[..filled - held]);

        let mut cursor = Cursor::new(&header[..filled]);
        let parsed = FrameHeader::parse(&mut cursor)
            .map_err(|_| Disconnect::BAD_FRAME.because("reserved opcode"))?;
        let used = if parsed.is_some() { cursor.position() as usize } else { filled };
        *input = &mut mem::take(input)[used - held..];

        let Some((parsed, length)) = parsed else {
            let partial = self.partial.get_or_insert_default();
            (partial.header, partial.header_len) = (header, filled);
            return Ok(None);
        };
        if let Some(partial) = &mut self.partial {
            partial.header_len = 0;
        }
        if used != parsed.len(length) {
            return Err(Disconnect::BAD_FRAME.because("length not in its shortest form"));
        }
        self.admit(&parsed, length).map(Some)
    }

    /// Checks a header, before any byte of the payload is kept.
    fn admit(&mut self, header: &FrameHeader, length: u64) -> Result<Payload, Disconnect> {
        let bad = |why| Err(Disconnect::BAD_FRAME.because(why));
        let Some(mask) = header.mask else {
            return bad("client frame without a mask");
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return bad("reserved bit set without an extension");
        }
        let kind = match header.opcode {
            OpCode::Control(control) => {
                if !header.is_final {
                    return bad("control frame in fragments");
                }
                if length > MAX_CONTROL_PAYLOAD as u64 {
                    return bad("control frame over 125 bytes");
                }
                match control {
                    Control::Close => PayloadKind::Close,
                    Control::Ping => PayloadKind::Ping,
                    Control::Pong => PayloadKind::Pong,
                    Control::Reserved(_) => return bad("reserved opcode"),
                }
            }
            OpCode::Data(data) => {
                self.admit_data(data, header.is_final, length)?;
                PayloadKind::Data
            }
        };
        // Both limits above are far below the range of usize.
        Ok(Payload { kind, last: header.is_final, mask, left: length as usize })
    }

    fn admit_data(&mut self, data: Data, last: bool, length: u64) -> Result<(), Disconnect> {
        let bad = |why| Err(Disconnect::BAD_FRAME.because(why));
        let (fragments, held) =
            self.partial.as_ref().map_or((0, 0), |p| (p.fragments, p.message.len()));
        match (data, fragments) {
            (Data::Binary, _) => return bad("binary message; only text is spoken here"),
            (Data::Reserved(_), _) => return bad("reserved opcode"),
            (Data::Continue, 0) => return bad("continuation of nothing"),
            (Data::Text, 1..) => return bad("new message inside a fragmented one"),
            (Data::Continue, MAX_FRAGMENTS..) => {
                return Err(Disconnect::TOO_LARGE.because("message in too many fragments"));
            }
            (Data::Text, 0) | (Data::Continue, _) => {}
        }
        if length > (self.max_message as usize - held) as u64 {
            return Err(Disconnect::TOO_LARGE);
        }
        if fragments > 0 || !last {
            self.partial.get_or_insert_default().fragments = fragments + 1;
        }
        Ok(())
    }

    /// Stores unmasked `bytes` of an incomplete frame or message.
    fn hold(&mut self, payload: &Payload, bytes: &[u8]) {
        let partial = self.partial.get_or_insert_default();
        let (held, most) = match payload.kind {
            PayloadKind::Data => (&mut partial.message, self.max_message as usize),
            _ => (&mut partial.control, MAX_CONTROL_PAYLOAD),
        };
        let needed = held.len() + bytes.len();
        // Grows with the bytes received, not with the length in a header, and never past the limit.
        if needed > held.capacity() {
            let room = needed.max(most.min(2 * held.capacity()));
            held.reserve_exact(room - held.len());
        }
        held.extend_from_slice(bytes);
    }

    /// Completes a frame, whose last `bytes` are unmasked in the input. Returns a message if it is
    /// one.
    fn end_frame<'a>(
        &mut self,
        payload: &Payload,
        bytes: &'a [u8],
    ) -> Result<Option<Inbound<'a>>, Disconnect> {
        if payload.kind == PayloadKind::Data && !payload.last {
            self.hold(payload, bytes);
            return Ok(None);
        }
        let whole = match self.take_held(payload.kind) {
            Some(mut held) => {
                held.reserve_exact(bytes.len());
                held.extend_from_slice(bytes);
                Cow::Owned(held)
            }
            None => Cow::Borrowed(bytes),
        };
        payload.kind.inbound(whole).map(Some)
    }

    /// Takes what was stored of a frame that is complete now, and frees memory no longer needed.
    fn take_held(&mut self, kind: PayloadKind) -> Option<Vec<u8>> {
        let partial = self.partial.as_mut()?;
        let held = match kind {
            PayloadKind::Data => {
                partial.fragments = 0;
                mem::take(&mut partial.message)
            }
            _ => mem::take(&mut partial.control),
        };
        if partial.fragments == 0 {
            self.partial = None;
        }
        Some(held).filter(|held| !held.is_empty())
    }
}

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
///
/// For the handshake, which `server` answers itself.
pub(crate) fn accept_key(request_key: &[u8]) -> String {
    derive_accept_key(request_key)
}
