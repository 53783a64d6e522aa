//! Keys of connections and groups within one shard.

/// Index of a connection within its shard, valid during one step. What outlives a step keeps the
/// connection's id or serial beside it.
pub(in crate::hub) type ConnectionKey = u32;

/// A group of a shard. May outlive the group: a later group with the same index has another
/// generation, so a stale key finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::hub) struct GroupKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A connection's side of a membership.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct Membership {
    pub(in crate::hub) group: GroupKey,
    /// The index among the group's members.
    pub(super) place: u32,
    /// Whether a back end made it: a new token does not end it then.
    pub(in crate::hub) by_backend: bool,
}

/// A connection's key or none, in four bytes: every connection has two.
#[derive(Debug, Clone, Copy)]
pub(super) struct OptionalKey(ConnectionKey);

impl OptionalKey {
    /// None. The slab never gives this key: it would be the four thousand millionth connection.
    pub(super) const NONE: Self = Self(ConnectionKey::MAX);

    pub(super) fn some(key: ConnectionKey) -> Self {
        Self(key)
    }

    pub(super) fn get(self) -> Option<ConnectionKey> {
        (self.0 != ConnectionKey::MAX).then_some(self.0)
    }
}

impl GroupKey {
    /// The key as the outbox keeps it.
    pub(in crate::hub) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(in crate::hub) fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}
