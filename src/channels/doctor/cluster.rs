//! What the instances of the cluster have agreed on, and which of them are there.

use super::Finding;
use super::server::{Info, span, time};
use crate::channels::ChannelSettings;
use crate::channels::agreement::{self, FORMAT};
use crate::layer::{ScriptError, Session};

/// Seconds since its last word after which an instance does not count as there, as the beat's script
/// has it.
const GONE: f64 = 4.0;

/// What a cluster has written of itself.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// Mailboxes agreed on; empty = nothing yet.
    pub(super) boxes: String,
    /// Version of the format agreed on.
    pub(super) format: String,
    /// Instances by id, whether they deliver, seconds since their last word.
    pub(super) instances: Vec<(String, bool, f64)>,
    /// The run id of the server that it knew last.
    run: String,
}

impl Cluster {
    /// Reads that of the cluster `name`, whichever it is.
    pub(super) async fn ask(session: &Session, name: &str) -> Result<Self, ScriptError> {
        let key = |kind: &str| format!("{name}:{kind}");
        let agreed: Vec<Option<String>> =
            session.ask(&["HMGET", &key("bridge"), "boxes", "format"]).await?;
        let run: Vec<Option<String>> = session.ask(&["HMGET", &key("gen"), "run"]).await?;
        let now = time(session).await?;
        let ids: Vec<String> = session.ask(&["ZRANGE", &key("instances"), "0", "-1"]).await?;
        let mut instances = Vec::with_capacity(ids.len());
        for id in ids {
            let said: Option<f64> = session.ask(&["ZSCORE", &key("instances"), &id]).await?;
            let silent = said.map_or(f64::INFINITY, |said| now - said);
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

    /// Instances that deliver and have said so lately.
    pub(super) fn live(&self) -> impl Iterator<Item = &str> {
        let live =
            self.instances.iter().filter(|(_, delivers, silent)| *delivers && *silent <= GONE);
        live.map(|(id, ..)| id.as_str())
    }
}

/// Compares the cluster with what is configured here.
pub(super) async fn look(
    channels: &ChannelSettings,
    session: &Session,
    findings: &mut Vec<Finding>,
) {
    let name = session.names().cluster();
    // Which right is missing for that has been named by their trial.
    let Ok(cluster) = Cluster::ask(session, name).await else { return };
    findings.push(agreement(channels, &cluster, &session.names().key("bridge")));
    findings.push(instances(name, &cluster));
    if let Ok(info) = Info::ask(session).await
        && !cluster.run.is_empty()
        && cluster.run != info.text("run_id")
    {
        let found = "Redis was restarted or exchanged since an instance last looked";
        findings
            .push(Finding::ok("generation", found).hint("histories begin anew, clients are told"));
    }
}

fn agreement(channels: &ChannelSettings, cluster: &Cluster, key: &str) -> Finding {
    if cluster.format.is_empty() {
        let found = format!(
            "nothing yet; the first instance writes {} mailboxes, format {FORMAT}",
            channels.boxes
        );
        return Finding::ok("agreement", found);
    }
    let here = channels.core.then_some(channels.boxes);
    match agreement::compare(here, &cluster.boxes, &cluster.format, key) {
        Some(error) => Finding::fail(
            "agreement",
            error.to_string(),
            "an instance would not stay with the others",
        ),
        None => Finding::ok(
            "agreement",
            format!("{} mailboxes, format {}", cluster.boxes, cluster.format),
        ),
    }
}

fn instances(name: &str, cluster: &Cluster) -> Finding {
    let live: Vec<_> = cluster.live().collect();
    let found = match live.as_slice() {
        [] => format!("none of cluster {name} is running"),
        live => format!("{} of cluster {name} running: {}", live.len(), live.join(", ")),
    };
    let deaf: Vec<_> = cluster
        .instances
        .iter()
        .filter(|(id, delivers, silent)| {
            !delivers && *silent <= GONE && !live.contains(&id.as_str())
        })
        .map(|(id, _, silent)| format!("{id} (last word {} ago)", span(*silent)))
        .collect();
    if deaf.is_empty() {
        return Finding::ok("instances", found);
    }
    let found = format!("{found}; not delivering: {}", deaf.join(", "));
    Finding::warn("instances", found, "look at their logs and /readyz?strict")
}
