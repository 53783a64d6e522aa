//! How much a source and the parked publications of a group may hold.

use std::time::Duration;

/// At what size senders drop messages, and how much may be parked.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Entries at which senders drop messages for a mailbox.
    pub(super) capacity: u32,
    /// Publications that may be parked for one group.
    pub(super) parked: u32,
    /// How long publications stay parked.
    pub(super) parked_for: Duration,
    /// Mailboxes for groups.
    pub(super) boxes: u16,
}
