//! The durable places that are drained, and what an entry in one of them says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use super::codec::{Codec, CodecError};
use super::names::Mailboxes;
use crate::event::{Event, EventError, Publication, PublicationId, Target};
use crate::group::GroupName;
use crate::identity::MAX_SUB_LEN;
use crate::layer::Reply;

/// One place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DurableSource {
    /// A mailbox of channels_redis for groups.
    Groups(u16),
    /// A mailbox of channels_redis for connections.
    Connections,
    /// The stream that any program may write to.
    Ingress,
}

/// All of an instance, by their keys in Redis; the same in every instance of a cluster.
#[derive(Debug)]
pub(super) struct Sources {
    list: Vec<(DurableSource, String)>,
    by_key: HashMap<String, usize>,
}

/// An entry as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SourceEntry {
    /// What the source calls it: itself in a mailbox, its id in a stream.
    pub(super) entry: Bytes,
    /// What else is known of it: its score, or its fields.
    pub(super) rest: Reply,
    /// How long it has waited by Redis' clock, as its id in a stream says; in a mailbox only the
    /// sender's clock would know.
    pub(super) waited: Duration,
}

/// Why an entry says nothing. It is removed all the same: it would stand in the way for ever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    /// Not as Django's settings say.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// No event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Larger than an event may be.
    #[error("event has {bytes} bytes; at most {most} are allowed")]
    TooLarge {
        /// Its JSON.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// Addressed to nobody of this cluster.
    #[error("message is for {0:?}; a channel name of this cluster is required")]
    Stranger(String),
    /// Fields of a stream entry.
    #[error("stream entry has {0}; one of group, user, connection or all, and event are required")]
    Fields(String),
}

impl DurableSource {
    /// What kind of key it is, as scripts say.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Groups(_) | Self::Connections => "z",
            Self::Ingress => "x",
        }
    }
}

impl Sources {
    pub(super) fn new(mailboxes: Option<&Mailboxes>, ingress: Option<String>) -> Self {
        let mut list = Vec::new();
        if let Some(mailboxes) = mailboxes {
            for number in 0..mailboxes.count() {
                list.push((DurableSource::Groups(number), mailboxes.of_groups(number)));
                list.push((DurableSource::Connections, mailboxes.of_connections(number)));
            }
        }
        list.extend(ingress.map(|key| (DurableSource::Ingress, key)));
        let by_key = list.iter().enumerate().map(|(index, (_, key))| (key.clone(), index));
        Self { by_key: by_key.collect(), list }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn at(&self, index: usize) -> (DurableSource, &str) {
        (self.list[index].0, &self.list[index].1)
    }

    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }
}

impl SourceEntry {
    /// `now`: by Redis' clock, ms.
    pub(super) fn new(entry: Bytes, rest: Reply, now: u64) -> Self {
        let written = match &rest {
            Reply::List(_) => std::str::from_utf8(&entry).ok().and_then(|id| id.split_once('-')),
            _ => None,
        };
        let written = written.and_then(|(ms, _)| ms.parse().ok()).unwrap_or(now);
        Self { entry, rest, waited: Duration::from_millis(now.saturating_sub(written)) }
    }

    /// Its number among all: the same however often it is found, also on a Redis that took over, and
    /// another for the same words sent again, by their score or id.
    pub(super) fn id(&self) -> PublicationId {
        let mut text = self.entry.to_vec();
        match &self.rest {
            // A stream that lost its newest entries with a failover may give an id again.
            Reply::List(fields) => fields.iter().for_each(|field| {
                text.push(0);
                text.extend_from_slice(bytes(field));
            }),
            score => text.extend_from_slice(bytes(score)),
        }
        let hash = digest(&SHA256, &text);
        let half = hash.as_ref()[..16].try_into().expect("a SHA-256 has 32 bytes");
        PublicationId(u128::from_be_bytes(half))
    }
}

fn bytes(reply: &Reply) -> &[u8] {
    reply.as_bytes().map_or(&[], |bytes| bytes)
}

/// How entries are read.
pub(super) struct EntryDecoder {
    pub(super) codec: Codec,
    pub(super) mailboxes: Mailboxes,
    pub(super) max_event_bytes: usize,
}

impl EntryDecoder {
    /// What an entry says, once for each that it is for.
    pub(super) fn read(
        &self,
        source: DurableSource,
        found: &SourceEntry,
        now: Instant,
    ) -> Result<Vec<Publication>, EntryError> {
        let said = match source {
            DurableSource::Groups(_) | DurableSource::Connections => self.message(&found.entry)?,
            DurableSource::Ingress => fields(&found.rest)?,
        };
        let (bytes, most) = (said.event.json().len(), self.max_event_bytes);
        if bytes > most {
            return Err(EntryError::TooLarge { bytes, most });
        }
        let id = found.id();
        let left = said.expiry.map(|expiry| expiry.saturating_sub(found.waited));
        let publication = |target| Publication {
            id,
            target,
            event: said.event.clone(),
            except: Default::default(),
            accepted: now,
            deadline: left.and_then(|left| now.checked_add(left)),
            position: None,
        };
        Ok(said.targets.into_iter().map(publication).collect())
    }

    /// What the pub/sub layer sent to a group.
    pub(super) fn read_bare(&self, payload: &[u8]) -> Result<Event, EntryError> {
        let event = self.codec.read_bare(payload)?.event;
        let (bytes, most) = (event.json().len(), self.max_event_bytes);
        match bytes > most {
            true => Err(EntryError::TooLarge { bytes, most }),
            false => Ok(event),
        }
    }

    fn message(&self, entry: &[u8]) -> Result<DecodedEntry, EntryError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let received = self.codec.read(entry, now)?;
        let targets = received.channels.iter().map(|name| {
            let stranger = || EntryError::Stranger(name.chars().take(120).collect());
            self.mailboxes.target(name).ok_or_else(stranger)
        });
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() {
            return Err(EntryError::Stranger(String::new()));
        }
        Ok(DecodedEntry { targets, event: received.event, expiry: None })
    }
}

/// What an entry says.
struct DecodedEntry {
    targets: Vec<Target>,
    event: Event,
    expiry: Option<Duration>,
}

/// The fields of `XADD groupcast:ingress * group usuario_7 event '{…}'`.
fn fields(fields: &Reply) -> Result<DecodedEntry, EntryError> {
    let wrong = |what: &str| EntryError::Fields(what.chars().take(120).collect());
    let Reply::List(fields) = fields else { return Err(wrong("no fields")) };
    let (mut target, mut event, mut expiry) = (None, None, None);
    for pair in fields.chunks_exact(2) {
        let (Some(name), Some(value)) = (pair[0].as_str(), pair[1].as_bytes()) else { continue };
        let text = || std::str::from_utf8(value).map_err(|_| wrong("a field that is not UTF-8"));
        let found = match name {
            "event" => {
                event = Some(Event::parse(Bytes::copy_from_slice(value))?);
                continue;
            }
            "expiry_ms" => {
                let ms = text()?.parse().map_err(|_| wrong("an expiry_ms that is no number"))?;
                expiry = Some(Duration::from_millis(ms));
                continue;
            }
            "group" => Target::Group(
                GroupName::parse(text()?)
                    .map_err(|error| wrong(&format!("a bad group: {error}")))?,
            ),
            "user" if !(1..=MAX_SUB_LEN).contains(&value.len()) => {
                return Err(wrong(&format!("a user of {} bytes", value.len())));
            }
            "user" => Target::User(Arc::from(text()?)),
            "connection" => Target::Connection(
                text()?.parse().map_err(|error| wrong(&format!("a bad connection: {error}")))?,
            ),
            "all" => Target::All,
            other => return Err(wrong(&format!("an unknown field {other:?}"))),
        };
        if target.replace(found).is_some() {
            return Err(wrong("more than one target"));
        }
    }
    match (target, event) {
        (Some(target), Some(event)) => Ok(DecodedEntry { targets: vec![target], event, expiry }),
        (None, _) => Err(wrong("no target")),
        (_, None) => Err(wrong("no event")),
    }
}
