//! Names, identities, events and configurations for the hub's tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::peer::Peer;
use crate::event::{Event, InstanceId, Member, Position, Recovery};
use crate::frame::Frame;
use crate::group::GroupName;
use crate::hub::{Join, Joined, RouteConfig, ShardConfig};
use crate::identity::{
    self, GrantRule, Identity, KeySettings, Operation, PatternTemplate, Policy, Verifier,
};
use crate::protocol::{Refusal, Shape};
use crate::socket;
use crate::telemetry::Metrics;

const SECRET: &[u8] = b"a secret made up for the hub's tests";

pub(super) fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

/// An accepted identity: of `sub`, for an hour.
pub(super) fn identity(sub: &str) -> Identity {
    verifier().verify(&token(sub, 3600), unix()).unwrap()
}

/// A token that is good for `seconds`.
pub(super) fn token(sub: &str, seconds: u64) -> String {
    identity::sign(&key(), &json!({ "sub": sub, "exp": unix() + seconds })).unwrap()
}

fn key() -> KeySettings {
    KeySettings { id: String::new(), algorithm: "HS256".to_owned(), material: SECRET.to_vec() }
}

pub(super) fn verifier() -> Verifier {
    let settings =
        identity::Settings { keys: vec![key()], leeway: Duration::ZERO, ..Default::default() };
    Verifier::new(&settings).unwrap()
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// `{"type":"n","n":…}`, padded to about `size` bytes.
pub(super) fn event(n: u64, size: usize) -> Event {
    let pad = "x".repeat(size.saturating_sub(40));
    Event::parse(format!(r#"{{"type":"n","n":{n},"pad":"{pad}"}}"#).into()).unwrap()
}

pub(super) fn position(offset: u64) -> Position {
    Position { epoch: "1.1".into(), offset }
}

/// A hub's shard_config: everything is granted, every event shown, two routes of which the second
/// welcomes.
pub(super) fn shard_config(connection: socket::Settings, metrics: Arc<Metrics>) -> ShardConfig {
    let rule = GrantRule {
        origin: "tests".to_owned(),
        operations: vec![Operation::Join, Operation::Send, Operation::Call],
        names: vec![PatternTemplate::parse("*").unwrap()],
    };
    let welcome = Frame::text(br#"{"type":"hola"}"#);
    ShardConfig {
        connection,
        shapes: vec![Shape::verbatim()],
        routes: vec![
            RouteConfig::default(),
            RouteConfig { welcome: Some(welcome), ..RouteConfig::default() },
        ],
        verifier: Arc::new(verifier()),
        policy: Arc::new(Policy::new(&[rule])),
        metrics,
        member_counts: Arc::default(),
        retry_window: Duration::from_secs(5),
    }
}

pub(super) fn instance() -> InstanceId {
    InstanceId::from_random([7; 5])
}

pub(super) fn member(peer: &Peer) -> Member {
    Member::Connection(peer.id)
}

/// The layer's answer to `join`.
pub(super) fn answer_to(
    join: Join,
    outcome: impl Fn(&GroupName) -> Result<Recovery, Refusal>,
) -> Joined {
    let groups = join.groups.into_iter().map(|(name, _)| {
        let outcome = outcome(&name);
        (name, outcome)
    });
    let groups = groups.collect();
    Joined { to: join.to, ticket: join.ticket, cause: join.cause, groups, refused: join.refused }
}
