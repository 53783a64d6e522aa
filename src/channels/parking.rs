//! Parks publications for a group that is held while it has no listener.

/// The functions of scripts that park publications for a group without a listener. Their text must
/// follow [`crate::layer::NUMBERING`].
pub(crate) const PARKING: &str = include_str!("scripts/parking.lua");
