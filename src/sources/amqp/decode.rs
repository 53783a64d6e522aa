//! Decodes messages of a queue, as the libraries of publishers write them.
//!
//! pika sets no property at all, aio-pika a `type` that says `None`, kombu its content type and
//! encoding. So what is absent is JSON, and `type`, `priority` and `delivery_mode` say nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;

use super::refusal::AmqpRefusal;
use crate::amqp::AmqpDelivery;
use crate::event::{Event, Publication, PublicationId, Target};
use crate::excerpt::excerpt;
use crate::group::GroupName;
use crate::identity::check_sub;
use crate::layer::{Digest, KeyedPublication, OnceKey, WhenFull};

/// Characters of a property that an error shows.
const MAX_SHOWN: usize = 80;

/// Message ids that are remembered of a queue, the oldest forgotten first. What a broker delivers
/// again was unacknowledged, so it is among as many as the largest prefetch; the rest is for
/// publishers that publish again. Each takes about 230 bytes of Redis.
const REMEMBERED: u32 = 100_000;

/// Content types that are JSON.
const JSON: [&str; 2] = ["application/json", "text/json"];

/// Content encodings that leave JSON as it is; kombu calls those of its text `utf-8`.
const PLAIN: [&str; 5] = ["utf-8", "utf8", "us-ascii", "ascii", "identity"];

/// Decodes the messages of one queue.
pub(super) struct AmqpDecoder {
    queue: String,
    scope: Arc<str>,
    max_event_bytes: usize,
}

impl AmqpDecoder {
    pub(super) fn new(queue: &str, max_event_bytes: usize) -> Self {
        let scope = format!("amqp:{queue}").into();
        Self { queue: queue.to_owned(), scope, max_event_bytes }
    }

    /// The publication of a message. A panic refuses this message alone.
    pub(super) fn decode(&self, message: &AmqpDelivery) -> Result<KeyedPublication, AmqpRefusal> {
        let decoding = AssertUnwindSafe(|| self.publication(message));
        catch_unwind(decoding).unwrap_or(Err(AmqpRefusal::Panic))
    }

    fn publication(&self, message: &AmqpDelivery) -> Result<KeyedPublication, AmqpRefusal> {
        let target = target(message.routing_key.as_str())?;
        check_form(message)?;
        let expiry = message.expiration().map(expiry).transpose()?;
        let (bytes, most) = (message.body.len(), self.max_event_bytes);
        let body = message.body.bytes().filter(|_| bytes <= most);
        let body = body.ok_or(AmqpRefusal::TooLarge { bytes, most })?;
        let event = Event::parse(body.clone())?;
        let key = message.message_id().map(|id| self.key(id, &event, expiry));
        let publication = Publication {
            id: self.id(message.message_id(), &target),
            target,
            event,
            except: Default::default(),
            accepted: Instant::now(),
            deadline: expiry.and_then(|expiry| message.received.checked_add(expiry)),
            position: None,
        };
        Ok(KeyedPublication { publication, key })
    }

    fn key(&self, message_id: &str, event: &Event, expiry: Option<Duration>) -> OnceKey {
        let expiry = expiry.map_or(u128::MAX, |expiry| expiry.as_millis());
        OnceKey {
            scope: Arc::clone(&self.scope),
            capacity: REMEMBERED,
            when_full: WhenFull::ForgetOldest,
            key: Digest::of(&[b"message", message_id.as_bytes()]),
            content: Digest::of(&[&expiry.to_be_bytes(), event.json()]),
        }
    }

    /// The same for the same message, so that clients recognise it after a failover, too.
    fn id(&self, message_id: Option<&str>, target: &Target) -> PublicationId {
        let Some(message_id) = message_id else {
            let mut bytes = [0; 16];
            rand::fill(&mut bytes).expect("the operating system has random bytes");
            return PublicationId(u128::from_be_bytes(bytes));
        };
        let target = format!("{target:?}");
        let parts = [self.queue.as_bytes(), message_id.as_bytes(), target.as_bytes()];
        PublicationId(u128::from_be_bytes(Digest::of(&parts).0))
    }
}

/// A group's name has no colon, so the three other kinds of target are told apart by theirs.
fn target(key: &str) -> Result<Target, AmqpRefusal> {
    let bad = |why: &dyn ToString| AmqpRefusal::Target {
        key: excerpt(key, MAX_SHOWN),
        why: excerpt(&why.to_string(), MAX_SHOWN),
    };
    match key.split_once(':') {
        None => GroupName::parse(key).map(Target::Group).map_err(|error| bad(&error)),
        Some(("user", sub)) => match check_sub(sub) {
            Ok(()) => Ok(Target::User(sub.into())),
            Err(error) => Err(bad(&error)),
        },
        Some(("connection", id)) => id.parse().map(Target::Connection).map_err(|error| bad(&error)),
        Some(("all", "")) => Ok(Target::All),
        Some(_) => Err(bad(&"a group, user:<sub>, connection:<id> or all: is required")),
    }
}

/// Whether the body is JSON as it stands.
fn check_form(message: &AmqpDelivery) -> Result<(), AmqpRefusal> {
    if let Some(kind) = message.content_type() {
        let plain = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !JSON.contains(&plain.as_str()) && !plain.ends_with("+json") {
            return Err(AmqpRefusal::ContentType(excerpt(kind, MAX_SHOWN)));
        }
    }
    if let Some(compression) = message.header("compression") {
        return Err(AmqpRefusal::Compressed(excerpt(&compression, MAX_SHOWN)));
    }
    match message.content_encoding() {
        Some(encoding) if !PLAIN.contains(&encoding.to_ascii_lowercase().as_str()) => {
            Err(AmqpRefusal::ContentEncoding(excerpt(encoding, MAX_SHOWN)))
        }
        _ => Ok(()),
    }
}

/// RabbitMQ takes whole milliseconds as text, and counts the time in its queue by itself.
fn expiry(text: &str) -> Result<Duration, AmqpRefusal> {
    let bad = |_| AmqpRefusal::Expiration(excerpt(text, MAX_SHOWN));
    text.parse().map(Duration::from_millis).map_err(bad)
}
