//! Identifiers of instances, connections and publications.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand;
use data_encoding::{BASE64URL_NOPAD, Encoding, Specification};

use crate::excerpt::{self, excerpt};

/// One gateway process, drawn at random at each start: eight of `a-z 2-7` (40 bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId([u8; 8]);

/// One WebSocket: its instance and a serial number that the instance never reuses.
///
/// Written `<instance>-<serial>`, for example `k3f5a2bq-1729`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// The instance that holds the socket.
    pub instance: InstanceId,
    /// Counts the instance's connections from 1.
    pub serial: u64,
}

/// One publication, unique over all instances; written as 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicationId(pub u128);

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not `<instance>-<serial>`.
    #[error("connection id {0:?} is not '<instance>-<number>', for example \"k3f5a2bq-17\"")]
    Connection(String),
    /// Not 8 characters of the instance alphabet.
    #[error("instance id {0:?} is not 8 characters of a-z and 2-7")]
    Instance(String),
    /// Not 22 characters of base64url.
    #[error("publication id {0:?} is not 22 characters of base64url")]
    Publication(String),
}

/// RFC 4648 base32 in lower case: no character needs escaping in a URL, a log or a Redis key.
fn alphabet() -> Encoding {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding().expect("the alphabet has 32 distinct ASCII symbols")
}

impl InstanceId {
    /// A new one.
    pub fn random() -> Self {
        let mut bytes = [0; 5];
        rand::fill(&mut bytes).expect("the operating system has random bytes");
        Self::from_random(bytes)
    }

    /// The instance id that these five random bytes spell.
    pub fn from_random(bytes: [u8; 5]) -> Self {
        let mut text = [0; 8];
        alphabet().encode_mut(&bytes, &mut text);
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an instance id is ASCII by construction")
    }
}

impl PublicationId {
    /// An id for a publication that came without one.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).expect("the operating system has random bytes");
        Self(u128::from_ne_bytes(bytes))
    }
}

impl FromStr for InstanceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Instance(excerpt(text, excerpt::VALUE));
        let bytes: [u8; 8] = text.as_bytes().try_into().map_err(|_| wrong())?;
        if bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')) {
            Ok(Self(bytes))
        } else {
            Err(wrong())
        }
    }
}

impl FromStr for ConnectionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Connection(excerpt(text, excerpt::VALUE));
        let (instance, serial) = text.split_once('-').ok_or_else(wrong)?;
        let plain = serial.bytes().all(|b| b.is_ascii_digit()) && !serial.starts_with('0');
        match (instance.parse(), serial.parse()) {
            (Ok(instance), Ok(serial)) if plain => Ok(Self { instance, serial }),
            _ => Err(wrong()),
        }
    }
}

impl FromStr for PublicationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Publication(excerpt(text, excerpt::VALUE));
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| wrong())?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| wrong())?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.instance, self.serial)
    }
}

impl fmt::Display for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BASE64URL_NOPAD.encode_display(&self.0.to_be_bytes()).fmt(f)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
