//! Decodes what Django publishes on channels_redis' pub/sub layer.

use std::sync::Arc;
use std::time::Instant;

use super::codec::{Codec, CodecError};
use super::metrics::ChannelsMetrics;
use crate::event::{Event, Publication, PublicationId, Target};
use crate::group::GroupName;

/// Decodes messages of the pub/sub layer. Clones share it.
#[derive(Clone)]
pub struct PubsubDecoder {
    codec: Arc<Codec>,
    max_event_bytes: usize,
    metrics: Arc<ChannelsMetrics>,
}

/// Why a message is not an event.
#[derive(Debug, thiserror::Error)]
enum MessageError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("event has {bytes} bytes; at most {most} are allowed")]
    TooLarge { bytes: usize, most: usize },
}

impl PubsubDecoder {
    pub(super) fn new(
        codec: Arc<Codec>,
        max_event_bytes: usize,
        metrics: Arc<ChannelsMetrics>,
    ) -> Self {
        Self { codec, max_event_bytes, metrics }
    }

    /// The publication in a message to `group`, accepted now; `None` = undecodable, which is
    /// counted.
    pub fn decode(&self, group: &GroupName, payload: &[u8]) -> Option<Publication> {
        let event = match self.event(payload) {
            Ok(event) => event,
            Err(error) => {
                self.metrics.unreadable.increment(1);
                tracing::debug!(%group, %error, "malformed message of the pub/sub layer discarded");
                return None;
            }
        };
        self.metrics.messages.increment(1);
        Some(Publication {
            id: PublicationId::random(),
            target: Target::Group(group.clone()),
            event,
            except: Default::default(),
            accepted: Instant::now(),
            deadline: None,
            position: None,
        })
    }

    fn event(&self, payload: &[u8]) -> Result<Event, MessageError> {
        let event = self.codec.read_bare(payload)?.event;
        let (bytes, most) = (event.json().len(), self.max_event_bytes);
        if bytes > most {
            return Err(MessageError::TooLarge { bytes, most });
        }
        Ok(event)
    }
}
