//! The state of one instance at one moment, and of all of them, as they are exchanged and shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The state of one instance. A field that an older instance does not send has a default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Snapshot {
    /// The instance.
    pub(crate) instance: String,
    /// Its release.
    pub(crate) version: String,
    /// Milliseconds since 1970, by its clock.
    pub(crate) at: u64,
    /// Seconds since it started.
    pub(crate) uptime: u64,
    /// Open WebSockets.
    pub(crate) connections: u64,
    /// Groups with members there.
    pub(crate) groups: u64,
    /// Bytes in all outboxes.
    pub(crate) outbox_bytes: u64,
    /// Resident memory of the process, bytes.
    pub(crate) memory: u64,
    /// Publications that arrived, per second, as everything below it up to `closes`.
    pub(crate) publications: f64,
    /// Publications written to sockets.
    pub(crate) deliveries: f64,
    /// Publications that did not reach a connection.
    pub(crate) drops: f64,
    /// Gaps sent.
    pub(crate) gaps: f64,
    /// Memberships started.
    pub(crate) joins: f64,
    /// Connections closed.
    pub(crate) closes: f64,
    /// Milliseconds from acceptance to write, median; `None` = nothing was written.
    pub(crate) p50: Option<f64>,
    /// The same for all but one in a hundred.
    pub(crate) p99: Option<f64>,
    /// Whether probes come back through the layer.
    pub(crate) delivering: bool,
    /// Whether nothing was lost there recently.
    pub(crate) lossless: bool,
    /// Milliseconds for a probe to come back, behind the events that wait; 0 in memory.
    pub(crate) probe: f64,
    /// Redis' error, while it refuses everything.
    pub(crate) refusal: Option<String>,
    /// The groups with most publications.
    pub(crate) hot: Vec<HotGroup>,
    /// The metrics that are not zero, by name and labels.
    pub(crate) metrics: BTreeMap<String, f64>,
}

/// A group with many publications.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HotGroup {
    /// The group.
    pub(crate) name: String,
    /// Publications per second, possibly too many by `inherited`.
    pub(crate) rate: f64,
    /// By how many at most.
    pub(crate) inherited: f64,
    /// Members on the instance.
    pub(crate) members: u64,
}

/// The state of every instance.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Overview {
    /// Those that answered, the one asked first.
    pub(crate) instances: Vec<Snapshot>,
    /// Those that did not answer in time.
    pub(crate) silent: Vec<String>,
}
