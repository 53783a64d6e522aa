//! Messages as msgpack, as Python's `packb` writes it and `unpackb` reads it.
//!
//! rmp knows the bytes; what is ours is the way straight from them to JSON text and back, without a
//! tree between. rmp-serde was no choice: it hides extension types and repeated keys.

mod read;
mod write;

pub(super) use read::{read, read_channels};
pub(super) use write::write;
