//! Questions to all instances: each answers for itself, and those that are silent are named.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::evidence::EvidencePart;
use super::handle::{Console, SHARD_TIMEOUT};
use crate::group::GroupName;
use crate::hub::{ConnectionQuery, GroupQuery};
use crate::layer::PeerQuestion;

/// Longest wait for other instances.
const DEADLINE: Duration = Duration::from_millis(1200);

/// What an instance is asked. One that does not know a question stays silent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    /// Its state.
    Snapshot,
    /// A page of its groups.
    Groups(GroupQuery),
    /// A page of its connections.
    Connections(ConnectionQuery),
    /// The newest lines of its log.
    Log,
    /// What it knows of a user and a group.
    Why {
        /// The user.
        sub: String,
        /// The group, if any is asked about.
        group: Option<String>,
    },
    /// What has come for a group.
    Tap {
        /// The group.
        group: String,
        /// Who looks.
        reader: u64,
    },
}

/// The answers of all instances.
pub(super) struct Everywhere<T> {
    /// Each with its instance, this one first.
    pub(super) answers: Vec<(String, T)>,
    /// Instances that did not answer in time.
    pub(super) silent: Vec<String>,
}

impl Console {
    /// Asks every instance, this one too.
    pub(super) async fn ask_everywhere<T: DeserializeOwned>(&self, ask: &Ask) -> Everywhere<T> {
        let body = serde_json::to_vec(ask).expect("questions become JSON");
        let deadline = Instant::now() + DEADLINE;
        let others = async {
            let mut answers = Vec::new();
            // Without the layer there is nobody to ask; the snapshot says that it is away.
            let Ok(mut asked) = self.0.layer.ask(body).await else { return (answers, Vec::new()) };
            let mut silent = std::mem::take(&mut asked.asked);
            while !silent.is_empty() {
                let Ok(Some((by, body))) = timeout_at(deadline, asked.next()).await else { break };
                if let Ok(answer) = serde_json::from_slice(&body) {
                    silent.retain(|instance| *instance != by);
                    answers.push((by.to_string(), answer));
                }
            }
            (answers, silent.iter().map(ToString::to_string).collect())
        };
        let (own, (others, mut silent)) = tokio::join!(self.answer_here(ask), others);
        let own_name = self.0.hub.instance().to_string();
        let own = own.and_then(|value| serde_json::from_value(value).ok());
        if own.is_none() {
            silent.push(own_name.clone());
        }
        let mut answers: Vec<_> = own.map(|answer| (own_name, answer)).into_iter().collect();
        answers.extend(others);
        Everywhere { answers, silent }
    }

    /// The answer of this instance; `None` if its shards do not answer in time.
    async fn answer_here(&self, ask: &Ask) -> Option<Value> {
        let answer = async {
            let hub = &self.0.hub;
            let value = match ask {
                Ask::Snapshot => serde_json::to_value(&*self.snapshot().await?),
                Ask::Groups(query) => serde_json::to_value(hub.list_groups(query).await),
                Ask::Connections(query) => serde_json::to_value(hub.list_connections(query).await),
                Ask::Log => serde_json::to_value(crate::telemetry::recent_lines()),
                Ask::Why { sub, group } => {
                    let group = group.as_deref().and_then(|name| GroupName::parse(name).ok());
                    let receipt = hub.receipt(sub, group.as_ref()).await;
                    let (journal, group) = (&self.0.journal, group.as_ref());
                    serde_json::to_value(EvidencePart::of(journal, receipt, sub, group))
                }
                Ask::Tap { group, reader } => {
                    let group = GroupName::parse(group).ok()?;
                    serde_json::to_value(self.read_tap(&group, *reader).await)
                }
            };
            value.ok()
        };
        timeout(SHARD_TIMEOUT, answer).await.ok()?
    }
}

/// Answers other instances, for as long as the process runs.
pub(super) async fn serve_peers(console: Console, questions: Option<mpsc::Receiver<PeerQuestion>>) {
    let Some(mut questions) = questions else { return std::future::pending().await };
    while let Some(question) = questions.recv().await {
        let Ok(ask) = serde_json::from_slice::<Ask>(&question.body) else { continue };
        let Some(answer) = console.answer_here(&ask).await else { continue };
        let body = serde_json::to_vec(&answer).expect("answers become JSON");
        // An asker that cannot be reached names this instance among the silent ones.
        let _ = console.0.layer.answer(&question, body).await;
    }
    // The layer has ended, and with it the process.
    std::future::pending::<()>().await;
}
