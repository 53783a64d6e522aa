//! The payload of one frame: its mask, and its meaning once complete.

use std::borrow::Cow;

use crate::protocol::Disconnect;

use super::Inbound;

/// A frame whose header was accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload {
    pub(super) kind: PayloadKind,
    /// Whether the message ends with this frame.
    pub(super) last: bool,
    /// The mask, rotated to fit the next byte.
    pub(super) mask: [u8; 4],
    /// Bytes still to come.
    pub(super) left: usize,
}

/// The kind of a payload. Only text messages are accepted, so data is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadKind {
    Data,
    Ping,
    Pong,
    Close,
}

impl Payload {
    /// Removes the mask from the next `bytes` of the payload (RFC 6455 section 5.3).
    pub(super) fn unmask(&mut self, bytes: &mut [u8]) {
        let mask = u32::from_ne_bytes(self.mask);
        let (words, rest) = bytes.as_chunks_mut::<4>();
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ mask).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip(self.mask) {
            *byte ^= mask;
        }
        self.mask.rotate_left(bytes.len() % 4);
        self.left -= bytes.len();
    }
}

impl PayloadKind {
    /// The message in `whole`, the complete unmasked payload.
    pub(super) fn inbound(self, whole: Cow<'_, [u8]>) -> Result<Inbound<'_>, Disconnect> {
        match self {
            Self::Data => text(whole).map(Inbound::Text),
            Self::Ping => Ok(Inbound::Ping(whole)),
            Self::Pong => Ok(Inbound::Pong),
            Self::Close => close_code(&whole).map(Inbound::Close),
        }
    }
}

fn text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Disconnect> {
    match bytes {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    }
    .ok_or(Disconnect::BAD_FRAME.because("text that is not UTF-8"))
}

/// The code of a close frame (RFC 6455 section 5.5.1).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Disconnect> {
    let bad = |why| Err(Disconnect::BAD_FRAME.because(why));
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { bad("close with half a code") };
    };
    let code = u16::from_be_bytes(*code);
    // Section 7.4: 1004-1006 and 1015 are never sent, 1016-2999 are kept for later revisions;
    // 1012-1014 were registered with IANA after it.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return bad("close code that may not be sent");
    }
    if str::from_utf8(reason).is_err() {
        return bad("close reason that is not UTF-8");
    }
    Ok(Some(code))
}
