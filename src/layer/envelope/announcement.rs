//! Announces that the cluster itself sends the next message on an external channel.

use aws_lc_rs::digest::{SHA256, digest};

/// The first byte.
const ANNOUNCED: u8 = 4;

/// Precedes, on a group's channel, a message on the external channel of the same group.
///
/// The message has the external program's format, which does not name its sender. One script
/// publishes both, so nothing comes between them on a connection subscribed to both. With secrets
/// the digest is keyed: otherwise another program could have genuine messages taken for the
/// cluster's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::layer) struct Announcement(pub(super) [u8; 16]);

impl Announcement {
    /// Of a message that is about to be published.
    pub(in crate::layer) fn of(message: &[u8]) -> Self {
        let hash = digest(&SHA256, message);
        Self(hash.as_ref()[..16].try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// The announcement in `bytes`, if they are one.
    pub(in crate::layer) fn read(bytes: &[u8]) -> Option<Self> {
        let digest = bytes.strip_prefix(&[ANNOUNCED])?;
        digest.try_into().ok().map(Self)
    }

    pub(in crate::layer) fn write(&self) -> Vec<u8> {
        [&[ANNOUNCED], self.0.as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_exactly_what_it_writes() {
        let announcement = Announcement::of(b"\x81\xa4type\xa5aviso");
        assert_eq!(Announcement::read(&announcement.write()), Some(announcement.clone()));
        assert_ne!(Announcement::of(b"\x81\xa4type\xa4otro"), announcement);
        for other in [&b""[..], b"\x04", b"{\"type\":\"a\"}", b"\x01\x00", &[4; 16], &[4; 18]] {
            assert_eq!(Announcement::read(other), None);
        }
    }
}
