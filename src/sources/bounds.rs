//! How much a source and the parked publications of a group may hold.

use std::time::Duration;

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
    /// How long an entry may fail before it is set aside.
    pub(super) patience: Duration,
}

/// As long as a message of Django lives by default: its consumers would not get it any more.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
