//! Where a publication goes, as the draining script wants to know it.

use std::time::Duration;

use bytes::Bytes;

use super::Channels;
use super::names::Mailboxes;
use crate::event::{Publication, Target};
use crate::group::GroupName;
use crate::layer::RedisHandle;

/// How long a group counts as held after the last word of who holds it: two refreshes may be missed.
const HELD: Duration = Duration::from_secs(150);

/// Knows which names stand for a group.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    /// Where Django's senders look, if they are to find anything.
    pub(super) mailboxes: Option<Mailboxes>,
    pub(super) channels: Channels,
}

impl Addresses {
    /// Where senders look for `group` and whom they find; empty = they are not to find it.
    pub(super) fn member(&self, group: &GroupName) -> (String, String) {
        match &self.mailboxes {
            Some(mailboxes) if self.channels.wants(group) => {
                (mailboxes.group_key(group), mailboxes.member(group))
            }
            _ => Default::default(),
        }
    }

    /// Writes the thirteen values of one part.
    pub(super) fn write(
        &self,
        link: &RedisHandle,
        publication: &Publication,
        out: &mut Vec<Bytes>,
    ) {
        let names = link.names();
        let kept = match &publication.target {
            Target::Group(group) => link.history().of(group),
            _ => None,
        };
        let kind = match (&publication.target, kept) {
            (Target::Group(_), None) => "g",
            (Target::Group(_), Some(_)) => "h",
            (Target::Connection(_), _) => "c",
            (Target::User(_) | Target::All, _) => "a",
        };
        out.push(Bytes::from_static(kind.as_bytes()));
        out.push(names.of(&publication.target).into());
        out.push(link.envelope(publication));
        let Target::Group(group) = &publication.target else {
            out.extend(std::iter::repeat_n(Bytes::new(), 10));
            return;
        };
        let (key, member) = self.member(group);
        out.extend([names.held(group), names.waiting(group), key, member].map(Bytes::from));
        let Some(kept) = kept else {
            out.extend(std::iter::repeat_n(Bytes::new(), 6));
            return;
        };
        let (size, kept, numbered) = RedisHandle::spans(kept);
        out.extend([names.numbering(group), names.log(group), size.to_string()].map(Bytes::from));
        out.extend([kept, numbered].map(|span| Bytes::from(span.as_millis().to_string())));
        out.push(names.overflow_field(group).into());
    }
}

/// How long a group counts as held, and for how long it is still good to somebody once nobody holds it.
pub(super) fn spans(link: &RedisHandle, group: &GroupName) -> (Duration, Duration) {
    let ttl = link.history().of(group).map_or(Duration::ZERO, |kept| kept.ttl);
    (HELD + ttl, ttl)
}
