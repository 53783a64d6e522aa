//! How waiting messages are written, and whether the configuration reads them.

use bytes::Bytes;
use serde::Serialize;

use crate::channels::codec::{Codec, CodecError, CodecSettings, Serializer};

/// Longest random prefix that is tried; the library's default is 12.
const LONGEST_PREFIX: usize = 64;

/// How an encrypted message begins, after its random prefix.
const TOKEN: &[u8] = b"gAAAA";

/// How messages are written, as far as samples show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageFormat {
    /// `msgpack` or `json`; unknown for encrypted messages.
    pub serializer: Option<&'static str>,
    /// `random_prefix_length`.
    pub random_prefix: usize,
    /// Whether there are `symmetric_encryption_keys`.
    pub encrypted: bool,
}

/// Which samples the configuration reads.
#[derive(Debug, Default)]
pub(super) struct SampleCheck {
    pub(super) read: usize,
    /// One error for each sample that it does not read.
    pub(super) errors: Vec<CodecError>,
}

impl MessageFormat {
    /// The format that reads most of `samples`; `None` if none reads any.
    pub(super) fn detect(samples: &[Bytes]) -> Option<Self> {
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
        // The first of equals: a message may contain another one, and never follow one.
        let best =
            clear.chain(hidden).reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.filter(|(count, _)| *count > 0).map(|(_, writing)| writing)
    }
}

impl SampleCheck {
    /// Reads `samples` as configured. `now` in seconds since 1970.
    pub(super) fn of(samples: &[Bytes], settings: &CodecSettings, now: u64) -> Self {
        let codec = Codec::new(settings);
        let mut check = Self::default();
        for sample in samples {
            match codec.read(sample, now) {
                // An expired message has been decrypted: the keys fit.
                Ok(_) | Err(CodecError::Stale { .. }) => check.read += 1,
                Err(error) => check.errors.push(error),
            }
        }
        check
    }
}
