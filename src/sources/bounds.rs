//! How much a source and the parked publications of a group may hold.

use std::time::Duration;

/// The capacity at which senders drop messages, and the limits of parked publications.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Entries at which senders drop messages for a mailbox.
    pub(super) capacity: u32,
    /// Publications that may be parked for one group.
    pub(super) parked: u32,
    /// How long publications stay parked.
    pub(super) parked_for: Duration,
    /// The number of mailboxes for groups.
    pub(super) boxes: u16,
}
