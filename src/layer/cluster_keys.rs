//! The secrets that the instances of a cluster share, with which they sign what they send.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

/// Half of an HMAC-SHA256. Whoever guesses has one attempt per message, so 128 bits are plenty.
pub(super) type Tag = [u8; 16];

/// The secrets as configured.
#[derive(Clone, Default)]
pub struct ClusterSecrets {
    /// The first one signs, all verify; empty = nothing is signed.
    pub secrets: Vec<Vec<u8>>,
    /// Whether what is not signed is discarded.
    pub require: bool,
}

impl fmt::Debug for ClusterSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClusterSecrets { secrets, require } = self;
        f.debug_struct("ClusterSecrets")
            .field("secrets", &secrets.len())
            .field("require", require)
            .finish()
    }
}

/// What a tag is for: a tag of one purpose is none of another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// An envelope.
    Envelope = b'e' as isize,
    /// A message on an external channel that the cluster sends itself.
    Announcement = b'a' as isize,
}

/// The keys made of them; without secrets nothing is signed or verified.
pub(super) struct ClusterKeys {
    keys: Vec<hmac::Key>,
    require: bool,
    /// Whether every live instance reads what is signed.
    is_understood: AtomicBool,
}

impl ClusterKeys {
    pub(super) fn new(secrets: &ClusterSecrets) -> Self {
        let key = |secret: &Vec<u8>| hmac::Key::new(hmac::HMAC_SHA256, secret);
        let keys = secrets.secrets.iter().map(key).collect();
        Self { keys, require: secrets.require, is_understood: AtomicBool::new(false) }
    }

    /// Whether signatures are verified.
    pub(super) fn is_verifying(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether what is not signed is discarded.
    pub(super) fn requires(&self) -> bool {
        self.require && self.is_verifying()
    }

    /// Whether what others read is signed: once all of them can read that, or if they must.
    pub(super) fn is_signing(&self) -> bool {
        self.is_verifying() && (self.require || self.is_understood.load(Ordering::Acquire))
    }

    /// Whether every live instance reads what is signed.
    pub(super) fn set_understood(&self, is_understood: bool) {
        self.is_understood.store(is_understood, Ordering::Release);
    }

    /// The tag of `bytes` on `channel`; zeros without secrets.
    pub(super) fn tag(&self, purpose: Purpose, channel: &[u8], bytes: &[u8]) -> Tag {
        self.keys.first().map_or([0; 16], |key| tag(key, purpose, [channel, b""], bytes))
    }

    /// Whether `given` is the tag of `bytes` on the channel whose name is these parts, by any of
    /// the secrets.
    pub(super) fn verifies(
        &self,
        purpose: Purpose,
        channel: [&str; 2],
        bytes: &[u8],
        given: &Tag,
    ) -> bool {
        let channel = channel.map(str::as_bytes);
        let made_by = |key| {
            let expected = tag(key, purpose, channel, bytes);
            verify_slices_are_equal(&expected, given).is_ok()
        };
        self.keys.iter().any(made_by)
    }
}

fn tag(key: &hmac::Key, purpose: Purpose, channel: [&[u8]; 2], bytes: &[u8]) -> Tag {
    let mut context = hmac::Context::with_key(key);
    let length = (channel[0].len() + channel[1].len()) as u32;
    let [a, b, c, d] = length.to_be_bytes();
    context.update(&[purpose as u8, a, b, c, d]);
    channel.iter().for_each(|part| context.update(part));
    context.update(bytes);
    context.sign().as_ref()[..16].try_into().expect("an HMAC-SHA256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> ClusterKeys {
        let secrets = secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect();
        ClusterKeys::new(&ClusterSecrets { secrets, require: false })
    }

    #[test]
    fn a_tag_is_bound_to_purpose_channel_and_content() {
        let keys = keys(&["uno"]);
        let tag = keys.tag(Purpose::Envelope, b"groupcast:group:a", b"content");
        let verifies =
            |purpose, channel, bytes: &str| keys.verifies(purpose, channel, bytes.as_bytes(), &tag);
        assert!(verifies(Purpose::Envelope, ["groupcast:group:", "a"], "content"));
        assert!(!verifies(Purpose::Announcement, ["groupcast:group:", "a"], "content"));
        assert!(!verifies(Purpose::Envelope, ["groupcast:group:", "b"], "content"));
        assert!(!verifies(Purpose::Envelope, ["groupcast:group:", "a"], "Content"));
        assert!(!verifies(Purpose::Envelope, ["groupcast:group:", "ac"], "ontent"));
    }

    #[test]
    fn all_secrets_verify_what_the_first_of_each_signs() {
        let (old, both, new) = (keys(&["uno"]), keys(&["dos", "uno"]), keys(&["dos"]));
        let tag = |keys: &ClusterKeys| keys.tag(Purpose::Envelope, b"c", b"x");
        let verifies =
            |keys: &ClusterKeys, tag| keys.verifies(Purpose::Envelope, ["c", ""], b"x", &tag);
        assert!(verifies(&both, tag(&old)) && verifies(&both, tag(&new)));
        assert!(verifies(&new, tag(&both)) && !verifies(&new, tag(&old)));
        assert!(!verifies(&keys(&[]), tag(&keys(&[]))));
    }

    #[test]
    fn signs_once_all_instances_read_it_or_if_they_must() {
        let without = keys(&[]);
        without.set_understood(true);
        assert!(!without.is_signing() && !without.is_verifying());
        let keys = keys(&["uno"]);
        assert!(!keys.is_signing() && keys.is_verifying());
        keys.set_understood(true);
        assert!(keys.is_signing() && !keys.requires());
        let secrets = ClusterSecrets { secrets: vec![b"uno".to_vec()], require: true };
        let keys = ClusterKeys::new(&secrets);
        assert!(keys.is_signing() && keys.requires());
        assert!(!format!("{secrets:?}").contains("117"), "{secrets:?}");
    }
}
