//! Parking: publications for a group that is held, while it has no listener.

/// What scripts share that park publications for a group without a listener; it stands behind
/// [`crate::layer::NUMBERING`].
pub(crate) const PARKING: &str = include_str!("scripts/parking.lua");
