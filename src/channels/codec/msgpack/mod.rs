//! Messages as msgpack, as Python's `packb` writes it and `unpackb` reads it.
//!
//! rmp decodes the bytes; this room converts directly between them and JSON text, without a tree.
//! rmp-serde is unsuitable, since it hides extension types and repeated keys.

mod read;
mod write;

pub(super) use read::{read, read_channels};
pub(super) use write::write;
