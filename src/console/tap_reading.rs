//! What has come for a tapped group on this instance.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::handle::Console;
use crate::group::GroupName;

/// Events in one answer; each may be as large as an event may be, so few.
pub(super) const MAX_EVENTS: usize = 32;

/// Events with more bytes are shown by their size alone.
const MAX_BYTES: usize = 4096;

/// What has come for a group since the last question.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TapPage {
    /// The events, in the order of one instance.
    pub(crate) events: Vec<TappedEvent>,
    /// Events that found no room.
    pub(crate) missed: u64,
    /// Instances that did not answer in time.
    pub(crate) silent: Vec<String>,
}

/// One event.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TappedEvent {
    /// Its id.
    pub(crate) id: String,
    /// Its type.
    pub(crate) kind: String,
    /// The bytes of its JSON.
    pub(crate) bytes: u64,
    /// Milliseconds since it was accepted.
    pub(crate) age: u64,
    /// Its offset, where the group has positions.
    pub(crate) offset: Option<u64>,
    /// Its JSON as text; `None` = too large, or not for this reader.
    pub(crate) data: Option<String>,
}

impl Console {
    /// What has come here.
    pub(super) async fn read_tap(&self, group: &GroupName, reader: u64) -> TapPage {
        let (publications, mut missed) = self.0.hub.tap(group, reader).await;
        missed += publications.len().saturating_sub(MAX_EVENTS) as u64;
        let now = Instant::now();
        let shown = publications.iter().take(MAX_EVENTS).map(|publication| {
            let json = publication.event.json();
            let text = std::str::from_utf8(json).ok().filter(|text| text.len() <= MAX_BYTES);
            TappedEvent {
                id: publication.id.to_string(),
                kind: publication.event.kind().to_owned(),
                bytes: json.len() as u64,
                age: now.saturating_duration_since(publication.accepted).as_millis() as u64,
                offset: publication.position.as_ref().map(|position| position.offset),
                data: text.map(str::to_owned),
            }
        });
        TapPage { events: shown.collect(), missed, silent: Vec::new() }
    }
}
