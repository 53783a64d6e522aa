//! The event that is measured: a number, the moment it was due, and padding, all of fixed width.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use groupcast::frame::Frame;

const HEAD: &str = r#"{"type":"medida","seq":""#;
const AT: &str = r#"","at":""#;
const SEQ_DIGITS: usize = 10;
const AT_DIGITS: usize = 16;

/// Shortest event: the fixed parts and an empty pad.
pub const MIN_BYTES: usize =
    HEAD.len() + SEQ_DIGITS + AT.len() + AT_DIGITS + r#"","pad":""}"#.len();

/// One clock for publisher and receivers, which are threads of one process: nanoseconds since its
/// first use. Latencies are differences on it, so no two clocks are ever compared.
fn clock() -> Instant {
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
        format!(r#"{HEAD}{}","pad":"{pad}"}}"#, self.digits())
    }

    /// Number and time, as written in an event.
    fn digits(&self) -> String {
        format!("{:010}{AT}{:016}", self.seq, self.due)
    }

    /// Finds the stamp in a message; `None` if it holds no measured event.
    pub fn find(message: &[u8]) -> Option<Self> {
        let at = position(message)?;
        let due = at + SEQ_DIGITS + AT.len();
        let seq = number(message.get(at..at + SEQ_DIGITS)?)?;
        Some(Self { seq, due: number(message.get(due..due + AT_DIGITS)?)? })
    }

    /// How late it is now.
    pub fn age(&self, now: Instant) -> Duration {
        now.duration_since(clock()).saturating_sub(Duration::from_nanos(self.due))
    }
}

/// A message as the gateway wrote it, into which the control puts other stamps: so both write the
/// same bytes, whatever the gateway adds to an event.
#[derive(Debug, Clone)]
pub struct Template {
    before: String,
    after: String,
}

impl Template {
    /// From a message with a measured event in it.
    pub fn new(message: &str) -> Option<Self> {
        Stamp::find(message.as_bytes())?;
        let (before, rest) = message.split_at(position(message.as_bytes())?);
        let after = rest[SEQ_DIGITS + AT.len() + AT_DIGITS..].to_owned();
        Some(Self { before: before.to_owned(), after })
    }

    /// A message like the gateway's, for a control that runs alone.
    pub fn assumed(bytes: usize) -> Self {
        let event = Stamp { seq: 0, due: 0 }.json(bytes);
        let id = "0".repeat(26);
        let message = format!(r#"{{"type":"event","group":"sala","id":"{id}","data":{event}}}"#);
        Self::new(&message).expect("a measured event holds its stamp")
    }

    /// Length on the wire, as a frame.
    pub fn frame_bytes(&self) -> usize {
        Frame::text(self.with(Stamp { seq: 0, due: 0 }).as_bytes()).len()
    }

    /// The message with `stamp` in place of the one it came with.
    pub fn with(&self, stamp: Stamp) -> String {
        [self.before.as_str(), &stamp.digits(), &self.after].concat()
    }
}

/// Where the digits of a stamp begin.
fn position(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(AT.len()).position(|window| window == AT.as_bytes())?;
    at.checked_sub(SEQ_DIGITS)
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0u64, |sum, &byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_an_event_of_the_requested_length_with_a_readable_timestamp() {
        let stamp = Stamp { seq: 42, due: 1_234_567_890_123 };
        for bytes in [MIN_BYTES, 200, 4000] {
            let json = stamp.json(bytes);
            assert_eq!(json.len(), bytes);
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(value["seq"], "0000000042");
            assert_eq!(Stamp::find(json.as_bytes()), Some(stamp));
        }
        assert_eq!(Stamp::find(br#"{"type":"ping"}"#), None);
        assert_eq!(Stamp::find(br#"","at":"0000000000000001"#), None);
    }

    #[test]
    fn a_message_from_a_template_differs_only_in_its_timestamp() {
        let (stamp, later) = (Stamp { seq: 7, due: 99 }, Stamp { seq: 8, due: 100 });
        let message = stamp.json(200);
        let other = Template::new(&message).unwrap().with(later);
        assert_eq!(Stamp::find(other.as_bytes()), Some(later));
        assert_eq!(Template::new(&other).unwrap().with(stamp), message);
        assert_eq!(Template::assumed(200).frame_bytes(), 4 + 73 + 200);
    }
}
