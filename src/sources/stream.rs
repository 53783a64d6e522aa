//! The format of the ingress stream: `XADD groupcast:ingress * group user_7 event '{…}'`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::entry::{DecodedEntry, EntryError};
use crate::event::{Event, Target};
use crate::excerpt::excerpt;
use crate::group::GroupName;
use crate::identity::check_sub;

/// Longest part of a field that an error shows, characters.
const MAX_EXCERPT: usize = 120;

/// The fields read so far.
#[derive(Default)]
struct Fields {
    target: Option<Target>,
    event: Option<Event>,
    expiry: Option<Duration>,
}

/// Decodes names and values in turn.
pub(super) fn decode(fields: &[Bytes]) -> Result<DecodedEntry, EntryError> {
    let mut found = Fields::default();
    for pair in fields.chunks_exact(2) {
        found.add(&pair[0], &pair[1])?;
    }
    let target = found.target.ok_or_else(|| malformed("no target"))?;
    let event = found.event.ok_or_else(|| malformed("no event"))?;
    Ok(DecodedEntry { targets: vec![target], event, expiry: found.expiry })
}

/// The target of an entry that cannot be decoded as a whole.
pub(super) fn target(fields: &[Bytes]) -> Option<Target> {
    let mut found = Fields::default();
    for pair in fields.chunks_exact(2).filter(|pair| &*pair[0] != b"event") {
        // Other errors do not matter here.
        let _ = found.add(&pair[0], &pair[1]);
    }
    found.target
}

impl Fields {
    fn add(&mut self, name: &[u8], value: &Bytes) -> Result<(), EntryError> {
        match name {
            // Copied: the value is a slice of a read buffer, which it would keep in memory.
            b"event" => self.event = Some(Event::parse(Bytes::copy_from_slice(value))?),
            b"expiry_ms" => self.expiry = Some(expiry(value)?),
            b"group" => self.aim(group(value)?)?,
            b"user" => self.aim(user(value)?)?,
            b"connection" => self.aim(connection(value)?)?,
            b"all" => self.aim(Target::All)?,
            unknown => {
                let unknown = String::from_utf8_lossy(unknown);
                return Err(malformed(&format!("an unknown field {unknown:?}")));
            }
        }
        Ok(())
    }

    fn aim(&mut self, target: Target) -> Result<(), EntryError> {
        match self.target.replace(target) {
            None => Ok(()),
            Some(_) => Err(malformed("more than one target")),
        }
    }
}

fn group(value: &[u8]) -> Result<Target, EntryError> {
    match GroupName::parse(text(value)?) {
        Ok(group) => Ok(Target::Group(group)),
        Err(error) => Err(malformed(&format!("a bad group: {error}"))),
    }
}

fn user(value: &[u8]) -> Result<Target, EntryError> {
    let sub = text(value)?;
    check_sub(sub).map_err(|error| malformed(&format!("a bad user: {error}")))?;
    Ok(Target::User(Arc::from(sub)))
}

fn connection(value: &[u8]) -> Result<Target, EntryError> {
    match text(value)?.parse() {
        Ok(connection) => Ok(Target::Connection(connection)),
        Err(error) => Err(malformed(&format!("a bad connection: {error}"))),
    }
}

fn expiry(value: &[u8]) -> Result<Duration, EntryError> {
    let ms = text(value)?.parse().map_err(|_| malformed("an expiry_ms that is no number"))?;
    Ok(Duration::from_millis(ms))
}

fn text(value: &[u8]) -> Result<&str, EntryError> {
    std::str::from_utf8(value).map_err(|_| malformed("a field that is not UTF-8"))
}

fn malformed(what: &str) -> EntryError {
    EntryError::Fields(excerpt(what, MAX_EXCERPT))
}
