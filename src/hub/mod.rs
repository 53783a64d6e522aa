//! The members of groups on this instance, and the shards that write to them.

mod command;
mod context;
mod deliver;
mod handle;
mod inbox;
mod inspection;
mod join;
mod metrics;
mod owners;
mod receive;
mod registry;
mod report;
mod request;
mod shard;
mod store;
#[cfg(test)]
mod tests;
mod work_limit;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use command::PossibleGap;
pub(crate) use handle::Hub;
pub(crate) use inspection::{
    ConnectionOrder, ConnectionQuery, ConnectionRow, EndedRow, GapRow, GroupOrder, GroupQuery,
    GroupRate, GroupRow, LossRow, MAX_ROWS, ReceiptReport,
};
pub(crate) use metrics::CallFailure;
pub(crate) use registry::Registry;
pub(crate) use report::{ConnectionReport, Dropped, GroupReport};
pub(crate) use request::{
    Answer, Call, Cause, Confirm, Confirmation, Credential, HookIdentity, Join, Joined,
    MembershipRequest, NewConnection, RequestKind, Requests, Send,
};

use crate::frame::Frame;
use crate::group::MemberCounts;
use crate::identity::{Policy, Template, Verifier};
use crate::protocol::Shape;
use crate::socket;
use crate::telemetry::Metrics;

/// Shape of the hub.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads that own sockets; 0 = one per core.
    pub shards: usize,
    /// Most connections of one `sub` on this instance.
    pub connections_per_user: u32,
    /// Commands that may wait in each lane of one shard. When it is full the sender waits, and
    /// finally the publisher. A shard never waits for a socket, so a full lane means lack of CPU
    /// time, not slow readers.
    pub inbox: usize,
    /// Requests of each kind (memberships, sends, calls, confirmations) of all shards that may
    /// wait.
    pub requests: usize,
    /// Bytes queued in all outboxes. Beyond it the connections with the largest outboxes are
    /// closed.
    pub total_outbox_bytes: usize,
    /// Rate at which connections are closed when draining, per second.
    pub drain_rate: u32,
}

/// What all shards share; created once, never changed.
pub(crate) struct ShardConfig {
    /// Bounds of connections.
    pub connection: socket::Settings,
    /// How each route shapes events for plain connections.
    pub shapes: Vec<Shape>,
    /// The routes, as far as the hub needs them.
    pub routes: Vec<RouteConfig>,
    /// Checks renewals.
    pub verifier: Arc<Verifier>,
    /// Decides on joins, sends and calls.
    pub policy: Arc<Policy>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Members of large groups, for the layer, which serves groups in turn.
    pub member_counts: Arc<MemberCounts>,
    /// Sent in `welcome`: the window over which clients spread their reconnections.
    pub retry_window: Duration,
}

/// The hub's side of a route.
#[derive(Debug, Clone)]
pub(crate) struct RouteConfig {
    /// Its path, with `{name}` for a parameter.
    pub path: Arc<str>,
    /// Groups that its connections join.
    pub join: Vec<Template>,
    /// Sent first to its plain connections.
    pub welcome: Option<Frame>,
    /// Whether its plain connections are sent the errors of calls.
    pub call_errors: bool,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self { path: "/".into(), join: Vec::new(), welcome: None, call_errors: false }
    }
}

impl RouteConfig {
    /// The path of a connection with these parameters. Rebuilt, to save memory per connection.
    fn path_with(&self, parameters: Option<&[(String, String)]>) -> Arc<str> {
        let Some(parameters) = parameters else { return Arc::clone(&self.path) };
        // Segment by segment: what looks like a variable in a value is its text.
        let value_of = |segment: &str| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        let segments = self.path.split('/').map(|part| value_of(part).unwrap_or(part));
        segments.collect::<Vec<_>>().join("/").into()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 0,
            connections_per_user: 64,
            inbox: 4096,
            requests: 4096,
            total_outbox_bytes: 256 << 20,
            drain_rate: 2000,
        }
    }
}
