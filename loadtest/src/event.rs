//! The event that is measured: a number, the moment it was due, and padding, all of fixed width.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::websocket;

const HEAD: &str = r#"{"type":"medida","seq":""#;
const AT: &[u8] = br#","at":""#;
const SEQ_DIGITS: usize = 10;
const AT_DIGITS: usize = 16;

/// Shortest event: the fixed parts and an empty pad.
pub const MIN_BYTES: usize = event_overhead();

const fn event_overhead() -> usize {
    HEAD.len() + SEQ_DIGITS + 1 + AT.len() + AT_DIGITS + r#"","pad":""}"#.len()
}

/// One clock for publisher and receivers, which are threads of one process: nanoseconds since its
/// first use. Latencies are differences on it, so no two clocks are ever compared.
pub fn clock() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// An event that is due at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the publication, from 1.
    pub seq: u64,
    /// When it was due, nanoseconds on [`clock`].
    pub due: u64,
}

impl Stamp {
    /// Number `seq`, due at `due`.
    pub fn new(seq: u64, due: Instant) -> Self {
        Self { seq, due: due.duration_since(clock()).as_nanos() as u64 }
    }

    /// The event as JSON of exactly `bytes` bytes, at least [`MIN_BYTES`].
    pub fn json(&self, bytes: usize) -> String {
        let pad = "x".repeat(bytes.saturating_sub(MIN_BYTES));
        let Self { seq, due } = self;
        format!(r#"{HEAD}{seq:010}","at":"{due:016}","pad":"{pad}"}}"#)
    }

    /// Finds the stamp in a frame's payload; `None` if it holds no measured event.
    pub fn find(payload: &[u8]) -> Option<Self> {
        let at = position(payload)?;
        let seq = digits(payload.get(at - 1 - SEQ_DIGITS..at - 1)?)?;
        let from = at + AT.len();
        Some(Self { seq, due: digits(payload.get(from..from + AT_DIGITS)?)? })
    }

    /// How late it is now.
    pub fn age(&self, now: Instant) -> Duration {
        now.duration_since(clock()).saturating_sub(Duration::from_nanos(self.due))
    }
}

/// A frame as the gateway wrote it, into which the control puts other stamps: so both write the
/// same bytes, whatever the gateway adds to an event.
#[derive(Debug, Clone)]
pub struct Template {
    frame: Vec<u8>,
    at: usize,
}

impl Template {
    /// From a whole frame with a measured event in it.
    pub fn new(frame: Vec<u8>) -> Option<Self> {
        let at = position(&frame)?;
        Some(Self { frame, at })
    }

    /// A frame like the gateway's, for a control that runs alone.
    pub fn assumed(bytes: usize) -> Self {
        let event = Stamp { seq: 0, due: 0 }.json(bytes);
        let id = "0".repeat(26);
        let json = format!(r#"{{"type":"event","group":"sala","id":"{id}","data":{event}}}"#);
        let frame = websocket::text(json.as_bytes());
        let at = position(&frame).expect("a measured event holds its stamp");
        Self { frame, at }
    }

    /// Length of the frame on the wire.
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// The frame with `stamp` in place of the one it came with.
    pub fn with(&self, stamp: Stamp) -> Vec<u8> {
        let mut frame = self.frame.clone();
        let Stamp { seq, due } = stamp;
        let from = self.at - 1 - SEQ_DIGITS;
        frame[from..self.at - 1].copy_from_slice(format!("{seq:010}").as_bytes());
        let from = self.at + AT.len();
        frame[from..from + AT_DIGITS].copy_from_slice(format!("{due:016}").as_bytes());
        frame
    }
}

/// Where `","at":"` begins after its leading quote; far enough in that a number stands before it.
fn position(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(AT.len()).position(|window| window == AT)?;
    (at > SEQ_DIGITS + 1 && bytes.len() >= at + AT.len() + AT_DIGITS).then_some(at)
}

fn digits(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0u64, |sum, &byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_asked_length_and_gives_its_stamp_back() {
        let stamp = Stamp { seq: 42, due: 1_234_567_890_123 };
        for bytes in [MIN_BYTES, 200, 4000] {
            let json = stamp.json(bytes);
            assert_eq!(json.len(), bytes);
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(value["seq"], "0000000042");
            assert_eq!(Stamp::find(json.as_bytes()), Some(stamp));
        }
    }

    #[test]
    fn other_payloads_hold_no_stamp() {
        assert_eq!(Stamp::find(br#"{"type":"ping"}"#), None);
        assert_eq!(Stamp::find(br#","at":"0000000000000001"#), None);
    }

    #[test]
    fn a_template_differs_in_nothing_but_the_stamp() {
        let stamp = Stamp { seq: 7, due: 99 };
        let frame = websocket::text(stamp.json(200).as_bytes());
        let other = Template::new(frame.clone()).unwrap().with(Stamp { seq: 8, due: 100 });
        assert_eq!(other.len(), frame.len());
        assert_eq!(Stamp::find(&other), Some(Stamp { seq: 8, due: 100 }));
        assert_eq!(Template::new(other).unwrap().with(stamp), frame);
    }
}
