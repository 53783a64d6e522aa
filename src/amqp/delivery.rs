//! A message of a queue, and the place in which those wait that the broker has sent ahead.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use lapin::message::{Delivery, DeliveryResult};
use lapin::types::{AMQPValue, ShortString};
use lapin::{BasicProperties, ConsumerDelegate};
use tokio::sync::mpsc;

use super::AmqpError;
use crate::byte_budget::ByteBudget;

/// Bytes of bodies that are larger than an event may be, and are kept for their dead letters.
const MAX_LARGE_BYTES: usize = 32 * 1024 * 1024;

/// A message that the broker has delivered.
#[derive(Debug)]
pub(crate) struct AmqpDelivery {
    /// Its number on the channel, from 1.
    pub(crate) tag: u64,
    pub(crate) received: Instant,
    /// Whether it was delivered before, to this consumer or to another one.
    pub(crate) redelivered: bool,
    pub(crate) routing_key: ShortString,
    pub(crate) body: AmqpBody,
    pub(super) properties: BasicProperties,
}

/// What a message holds.
#[derive(Debug)]
pub(crate) enum AmqpBody {
    /// All of it.
    Whole(Bytes),
    /// Its length: it was not kept, for others of its size were there already.
    Dropped(usize),
    /// The same as `Whole` for one that is larger than an event may be; gives its room back.
    Large(Bytes, Arc<ByteBudget>),
}

/// What the broker sent.
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub(super) enum AmqpArrival {
    Message(AmqpDelivery),
    /// Nothing follows.
    End(AmqpError),
}

/// Takes what the broker sends, on lapin's own thread. Bounded by the prefetch: the broker sends no
/// more before it has acknowledgements.
pub(super) struct Intake {
    pub(super) arrivals: mpsc::Sender<AmqpArrival>,
    /// Larger bodies cannot be events.
    pub(super) max_event_bytes: usize,
    pub(super) large: Arc<ByteBudget>,
    /// Messages that have arrived and are not acknowledged.
    pub(super) unacknowledged: Arc<AtomicU64>,
}

impl Intake {
    /// Bytes of large bodies that are kept.
    pub(super) fn budget() -> Arc<ByteBudget> {
        Arc::new(ByteBudget::new(MAX_LARGE_BYTES))
    }

    fn take(&self, delivery: Delivery) -> AmqpDelivery {
        let length = delivery.data.len();
        let body = if length <= self.max_event_bytes {
            AmqpBody::Whole(delivery.data.into())
        } else if self.large.try_take(length) {
            AmqpBody::Large(delivery.data.into(), Arc::clone(&self.large))
        } else {
            AmqpBody::Dropped(length)
        };
        AmqpDelivery {
            tag: delivery.delivery_tag,
            received: Instant::now(),
            redelivered: delivery.redelivered,
            routing_key: delivery.routing_key,
            body,
            properties: delivery.properties,
        }
    }
}

impl ConsumerDelegate for Intake {
    fn on_new_delivery(
        &self,
        delivery: DeliveryResult,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let arrival = match delivery {
            Ok(Some(delivery)) => {
                self.unacknowledged.fetch_add(1, Ordering::Relaxed);
                AmqpArrival::Message(self.take(delivery))
            }
            Ok(None) => AmqpArrival::End(AmqpError::Ended),
            Err(error) => AmqpArrival::End(error.into()),
        };
        // There is room for the prefetch and an end. A reader that misses a number notices.
        let _ = self.arrivals.try_send(arrival);
        Box::pin(ready(()))
    }
}

impl Drop for AmqpBody {
    fn drop(&mut self) {
        if let Self::Large(bytes, budget) = self {
            budget.give_back(bytes.len());
        }
    }
}

impl AmqpBody {
    /// Its bytes, unless they were dropped.
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) | Self::Large(bytes, _) => Some(bytes),
            Self::Dropped(_) => None,
        }
    }

    /// Its length.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) | Self::Large(bytes, _) => bytes.len(),
            Self::Dropped(length) => *length,
        }
    }
}

impl AmqpDelivery {
    /// The property of this name; `None` = absent, or empty.
    pub(crate) fn content_type(&self) -> Option<&str> {
        present(self.properties.content_type())
    }

    /// As [`Self::content_type`].
    pub(crate) fn content_encoding(&self) -> Option<&str> {
        present(self.properties.content_encoding())
    }

    /// As [`Self::content_type`].
    pub(crate) fn message_id(&self) -> Option<&str> {
        present(self.properties.message_id())
    }

    /// As [`Self::content_type`]: milliseconds, as text.
    pub(crate) fn expiration(&self) -> Option<&str> {
        present(self.properties.expiration())
    }

    /// When it was published, seconds since 1970, where its publisher says so.
    pub(crate) fn timestamp(&self) -> Option<u64> {
        *self.properties.timestamp()
    }

    /// The text of a header.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let headers = self.properties.headers().as_ref()?;
        match headers.inner().get(name)? {
            AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into()),
            AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
            _ => None,
        }
    }
}

fn present(property: &Option<ShortString>) -> Option<&str> {
    property.as_ref().map(ShortString::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
impl AmqpDelivery {
    /// One with these properties, of which `compression` is a header.
    pub(crate) fn example(key: &str, body: &[u8], properties: &[(&str, &str)]) -> Self {
        let mut of = BasicProperties::default();
        for (name, value) in properties {
            let text = ShortString::from(*value);
            of = match *name {
                "content_type" => of.with_content_type(text),
                "content_encoding" => of.with_content_encoding(text),
                "message_id" => of.with_message_id(text),
                "expiration" => of.with_expiration(text),
                "type" => of.with_type(text),
                name => {
                    let mut headers = lapin::types::FieldTable::default();
                    headers.insert(name.into(), AMQPValue::LongString((*value).into()));
                    of.with_headers(headers)
                }
            };
        }
        Self {
            tag: 1,
            received: Instant::now(),
            redelivered: false,
            routing_key: key.into(),
            body: AmqpBody::Whole(Bytes::copy_from_slice(body)),
            properties: of,
        }
    }
}
