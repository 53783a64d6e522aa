//! The settings agreed by the cluster, and its running instances.

use bytes::Bytes;

use super::Finding;
use super::redis_server::{RedisInfo, span, time};
use crate::channels::{ChannelSettings, FORMATS, agreement};
use crate::finding::Condition;
use crate::layer::{DEFAULT_CLUSTER, RedisSession, ScriptError};

/// Seconds since its last heartbeat after which an instance counts as stopped, as in
/// `heartbeat.lua`.
const GONE: f64 = 4.0;

/// The state that a cluster keeps in Redis.
#[derive(Debug, Default)]
pub(super) struct ClusterState {
    /// Number of mailboxes agreed on; empty = nothing yet.
    pub(super) boxes: String,
    /// Version of the format agreed on.
    pub(super) format: String,
    /// Instances by id, whether they deliver, seconds since their last heartbeat.
    pub(super) instances: Vec<(String, bool, f64)>,
    /// The run id of the Redis server that the cluster last used.
    run: String,
}

impl ClusterState {
    /// Reads the state of the cluster `name`.
    pub(super) async fn read(session: &RedisSession, name: &str) -> Result<Self, ScriptError> {
        let key = |kind: &str| format!("{name}:{kind}");
        let agreed: Vec<Option<String>> =
            session.ask(&["HMGET", &key("bridge"), "boxes", "format"]).await?;
        let run: Vec<Option<String>> = session.ask(&["HMGET", &key("gen"), "run"]).await?;
        let now = time(session).await?;
        let (mut beating, remote) = (key("instances"), key("remote:instances"));
        let mut ids: Vec<String> = session.ask(&["ZRANGE", &beating, "0", "-1"]).await?;
        if ids.is_empty() {
            // A server on which only mailboxes are.
            ids = session.ask(&["ZRANGE", &remote, "0", "-1"]).await?;
            beating = remote;
        }
        let mut instances = Vec::with_capacity(ids.len());
        for id in ids {
            let heartbeat: Option<f64> = session.ask(&["ZSCORE", &beating, &id]).await?;
            let silent = heartbeat.map_or(f64::INFINITY, |at| now - at);
            instances.push((id.trim_start_matches('-').to_owned(), !id.starts_with('-'), silent));
        }
        let mut agreed = agreed.into_iter().map(Option::unwrap_or_default);
        Ok(Self {
            boxes: agreed.next().unwrap_or_default(),
            format: agreed.next().unwrap_or_default(),
            instances,
            run: run.into_iter().flatten().next().unwrap_or_default(),
        })
    }

    /// Instances that deliver, by a recent heartbeat.
    pub(super) fn live(&self) -> impl Iterator<Item = &str> {
        let live =
            self.instances.iter().filter(|(_, delivers, silent)| *delivers && *silent <= GONE);
        live.map(|(id, ..)| id.as_str())
    }
}

/// Compares the cluster with the configuration.
pub(super) async fn examine(
    channels: &ChannelSettings,
    session: &RedisSession,
    findings: &mut Vec<Finding>,
) {
    let name = session.names().cluster();
    // A missing right was already reported by the check of rights.
    let Ok(cluster) = ClusterState::read(session, name).await else { return };
    findings.push(agreement(channels, &cluster, &session.names().key("bridge")));
    findings.push(instances(name, &cluster));
    findings.push(cluster_name(name));
    findings.extend(poison(session).await);
    if let Ok(info) = RedisInfo::ask(session).await
        && !cluster.run.is_empty()
        && cluster.run != info.text("run_id")
    {
        let found = "Redis was restarted or replaced since an instance last connected";
        findings
            .push(Finding::ok("generation", found).hint("histories start anew; clients get a gap"));
    }
}

/// Entries of sources that were set aside, if there are any.
async fn poison(session: &RedisSession) -> Option<Finding> {
    let key = session.names().poison();
    let entries: Vec<(Bytes, Vec<Bytes>)> = session.ask(&["XRANGE", &key, "-", "+"]).await.ok()?;
    let (_, newest) = entries.last()?;
    let text = |index: usize| newest.get(index).map(|it| String::from_utf8_lossy(it).into_owned());
    let (source, why) = (text(1).unwrap_or_default(), text(3).unwrap_or_default());
    let count = entries.len() as u64;
    Some(Condition::Poison { count, source, why, key }.finding())
}

fn agreement(channels: &ChannelSettings, cluster: &ClusterState, key: &str) -> Finding {
    if cluster.format.is_empty() {
        let found = format!(
            "nothing yet; the first instance writes {} mailboxes, format {FORMATS}",
            channels.boxes
        );
        return Finding::ok("agreement", found);
    }
    let here = channels.core.then_some(channels.boxes);
    match agreement::compare(here, &cluster.boxes, FORMATS, &cluster.format, key) {
        Some(error) => Finding::fail(
            "agreement",
            error.to_string(),
            "an instance with this configuration would not start beside the others",
        ),
        None => Finding::ok(
            "agreement",
            format!("{} mailboxes, format {}", cluster.boxes, cluster.format),
        ),
    }
}

fn cluster_name(name: &str) -> Finding {
    if name != DEFAULT_CLUSTER {
        return Finding::ok("cluster", name.to_owned());
    }
    let found = format!("{name}, the default");
    // No warning: with one site there is nothing to change, and the exit code is 0.
    Finding::ok("cluster", found).hint(
        "another site with the default on this Redis has the same groups and events: give each \
         site a name of its own in layer.cluster",
    )
}

fn instances(name: &str, cluster: &ClusterState) -> Finding {
    let live: Vec<_> = cluster.live().collect();
    let found = match live.as_slice() {
        [] => format!("none of cluster {name} is running"),
        live => format!("{} of cluster {name} running: {}", live.len(), live.join(", ")),
    };
    let silent: Vec<_> = cluster
        .instances
        .iter()
        .filter(|(id, delivers, silent)| {
            !delivers && *silent <= GONE && !live.contains(&id.as_str())
        })
        .map(|(id, _, silent)| format!("{id} (last heartbeat {} ago)", span(*silent)))
        .collect();
    if silent.is_empty() {
        return Finding::ok("instances", found);
    }
    let found = format!("{found}; not delivering: {}", silent.join(", "));
    Finding::warn("instances", found, "see their logs and /readyz?strict")
}
