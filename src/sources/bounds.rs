//! How much a source and the parked publications of a group may hold.

use crate::layer::Parking;

/// The capacity at which senders drop messages, and the limits of parked publications.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Entries at which senders drop messages for a mailbox.
    pub(super) capacity: u32,
    /// Of publications parked for one group.
    pub(super) parking: Parking,
    /// The number of mailboxes for groups.
    pub(super) boxes: u16,
}
