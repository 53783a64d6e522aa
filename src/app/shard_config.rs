//! What the shards take from the configuration.

use std::sync::Arc;

use crate::config::Config;
use crate::frame::Frame;
use crate::group::MemberCounts;
use crate::hub::{RouteConfig, ShardConfig};
use crate::identity::{Policy, Verifier};
use crate::server;
use crate::telemetry::Metrics;

/// The part of the configuration that every shard uses.
pub(super) fn shard_config(
    config: &Config,
    verifier: &Arc<Verifier>,
    metrics: &Arc<Metrics>,
    member_counts: Arc<MemberCounts>,
) -> ShardConfig {
    let route_config = |route: &server::Route| RouteConfig {
        path: route.path.as_str().into(),
        call_errors: route.call_errors,
        join: route.join.clone(),
        welcome: route.welcome.as_ref().map(|json| Frame::text(json.as_bytes())),
    };
    ShardConfig {
        connection: config.connection.clone(),
        shapes: config.shapes.clone(),
        routes: config.server.routes.iter().map(route_config).collect(),
        verifier: Arc::clone(verifier),
        policy: Arc::new(Policy::new(&config.identity.grants)),
        metrics: Arc::clone(metrics),
        member_counts,
        retry_window: config.server.retry_window,
    }
}
