//! How messages that wait are written, and whether the configuration reads them.

use bytes::Bytes;
use serde::Serialize;

use crate::channels::codec::{Codec, CodecError, CodecSettings, Serializer};

/// Longest random prefix that is looked for; the library's default is 12.
const LONGEST_PREFIX: usize = 64;

/// How an encrypted message begins, behind its random prefix.
const TOKEN: &[u8] = b"gAAAA";

/// How messages are written, as far as that shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Writing {
    /// `msgpack` or `json`; unknown of what is encrypted.
    pub serializer: Option<&'static str>,
    /// `random_prefix_length`.
    pub random_prefix: usize,
    /// Whether there are `symmetric_encryption_keys`.
    pub encrypted: bool,
}

/// What the configuration makes of messages.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) read: usize,
    /// Why the others cannot be read, one each.
    pub(super) errors: Vec<CodecError>,
}

impl Writing {
    /// What reads the most of `samples`; `None` if nothing reads any.
    pub(super) fn guess(samples: &[Bytes]) -> Option<Self> {
        let clear = [Serializer::MsgPack, Serializer::Json].into_iter().flat_map(|serializer| {
            (0..=LONGEST_PREFIX).map(move |random_prefix| {
                let settings =
                    CodecSettings { serializer, random_prefix, ..CodecSettings::default() };
                let codec = Codec::new(&settings);
                let count = samples.iter().filter(|sample| codec.read(sample, 0).is_ok()).count();
                let serializer = Some(match serializer {
                    Serializer::MsgPack => "msgpack",
                    Serializer::Json => "json",
                });
                (count, Self { serializer, random_prefix, encrypted: false })
            })
        });
        let hidden = (0..=LONGEST_PREFIX).map(|random_prefix| {
            let begins =
                |sample: &&Bytes| sample.get(random_prefix..).is_some_and(|s| s.starts_with(TOKEN));
            let count = samples.iter().filter(begins).count();
            (count, Self { serializer: None, random_prefix, encrypted: true })
        });
        // Of equals the first: within a message there may be another, never before it.
        let best =
            clear.chain(hidden).reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.filter(|(count, _)| *count > 0).map(|(_, writing)| writing)
    }
}

impl Reading {
    /// Reads `samples` as configured. `now` in seconds since 1970.
    pub(super) fn of(samples: &[Bytes], settings: &CodecSettings, now: u64) -> Self {
        let codec = Codec::new(settings);
        let mut reading = Self::default();
        for sample in samples {
            match codec.read(sample, now) {
                // Its age is the mailbox' trouble; that it is known shows that the keys fit.
                Ok(_) | Err(CodecError::Stale { .. }) => reading.read += 1,
                Err(error) => reading.errors.push(error),
            }
        }
        reading
    }
}
