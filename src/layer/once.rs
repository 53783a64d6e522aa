//! Publications that are sent once under a key, however often and wherever they are repeated.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use crate::event::{Position, Publication, PublicationId, Target};

/// A key under which a publication is sent once to its target.
///
/// The layer keeps a mark for each target of a key, in the same step in which it publishes. So the
/// mark holds for all instances, and exists exactly if the publication was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceKey {
    /// Who chose the key: equal keys of two scopes are different keys.
    pub scope: Arc<str>,
    /// The most marks of the scope.
    pub capacity: u32,
    /// What happens to further keys.
    pub when_full: WhenFull,
    /// The key.
    pub key: Digest,
    /// What is published under it. Another content under the same key is refused.
    pub content: Digest,
}

/// What becomes of a new key whose scope has as many marks as it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused: dropping an earlier mark would break its promise.
    #[default]
    Refuse,
    /// The oldest mark makes room: for scopes whose keys come again soon or never.
    ForgetOldest,
}

/// A publication and its key.
#[derive(Debug, Clone)]
pub struct KeyedPublication {
    /// The publication. Its id is used if it was not sent before.
    pub publication: Publication,
    /// The key; `None` = it is sent in any case, in its place among others.
    pub key: Option<OnceKey>,
}

/// The outcome of a publication under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnceOutcome {
    /// It was sent.
    Sent {
        /// Its id: that of an earlier sending, if one was lost with a generation of Redis' data.
        id: PublicationId,
        /// Its position, if the group keeps a history.
        position: Option<Position>,
    },
    /// It was sent before; nothing is sent now.
    Earlier {
        /// The id that it was sent with.
        id: PublicationId,
        /// The position that it had.
        position: Option<Position>,
    },
    /// The key was used for another content.
    OtherContent,
    /// The scope has as many marks as it may.
    ScopeFull,
}

/// Half a SHA-256. A collision would only confuse two publications or keys of one scope, and both
/// are chosen by its owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// Of a list. The length before each part distinguishes `("a", "bc")` from `("ab", "c")`.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let hash = context.finish();
        Self(hash.as_ref()[..16].try_into().expect("a SHA-256 has 32 bytes"))
    }
}

impl OnceKey {
    /// The name of the mark for `target`, unique within the scope.
    pub(super) fn mark(&self, target: &Target) -> Digest {
        let (kind, name) = match target {
            Target::Group(group) => ("group", group.as_str().to_owned()),
            Target::User(sub) => ("user", sub.to_string()),
            Target::Connection(id) => ("connection", id.to_string()),
            Target::All => ("all", String::new()),
        };
        Digest::of(&[&self.key.0, kind.as_bytes(), name.as_bytes()])
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}
