//! What lies where events are drained from, besides what is drained: entries that were set aside,
//! publications that are parked, RabbitMQ's queues.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::handle::Console;
use super::servers::ask_servers;
use crate::amqp::{AmqpError, AmqpInspection};
use crate::excerpt::excerpt;
use crate::finding::{Condition, Finding, SentenceLanguage};
use crate::layer::{LayerError, StoredEntries};
use crate::sources::AmqpSettings;

/// How long what the servers told serves all who ask.
const FRESH: Duration = Duration::from_secs(3);

/// Characters of an entry that are told.
const MAX_ENTRY: usize = 500;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct SourcesReport {
    /// As the doctor writes them.
    findings: Vec<Finding>,
    /// Entries that were set aside, the newest first.
    poison: Vec<PoisonRow>,
    /// Groups for which publications wait, those that expire next first.
    parked: Vec<ParkedRow>,
}

/// An entry that was set aside.
#[derive(Debug, Serialize)]
struct PoisonRow {
    /// Milliseconds since 1970.
    at: u64,
    source: String,
    why: String,
    /// Its beginning; `None` = not for this reader.
    entry: Option<String>,
}

/// A group that nobody listens to.
#[derive(Debug, Serialize)]
struct ParkedRow {
    group: String,
    /// Publications.
    waiting: u64,
    /// Seconds until they expire.
    expires: u64,
}

impl Console {
    /// What lies in Redis and in RabbitMQ. The contents of entries are left out unless they are
    /// `open` to the reader.
    pub(crate) async fn sources(&self, language: SentenceLanguage, open: bool) -> SourcesReport {
        let servers =
            self.0.servers.get(FRESH, ask_servers(&self.0.layer, self.0.amqp.as_deref())).await;
        let mut conditions = of_redis(&servers.stored);
        if let (Some(answer), Some(settings)) = (&servers.rabbit, &self.0.amqp) {
            conditions.extend(of_rabbit(answer, settings));
        }
        let none = StoredEntries::default();
        let stored = servers.stored.as_ref().unwrap_or(&none);
        let poison = stored.set_aside.iter().map(|it| PoisonRow {
            at: it.at,
            source: it.source.clone(),
            why: it.why.clone(),
            entry: open.then(|| excerpt(&String::from_utf8_lossy(&it.entry), MAX_ENTRY)),
        });
        let parked = stored.parked.iter().map(|it| ParkedRow {
            group: it.group.to_string(),
            waiting: it.waiting,
            expires: it.expires,
        });
        SourcesReport {
            findings: conditions.iter().map(|it| it.finding_in(language)).collect(),
            poison: poison.collect(),
            parked: parked.collect(),
        }
    }
}

fn of_redis(stored: &Result<StoredEntries, LayerError>) -> Vec<Condition> {
    let stored = match stored {
        Ok(stored) => stored,
        Err(error) => return vec![Condition::RedisFails { error: error.to_string() }],
    };
    let newest = stored.set_aside.first().map(|newest| Condition::Poison {
        count: stored.set_aside.len() as u64,
        source: newest.source.clone(),
        why: newest.why.clone(),
        key: stored.key.clone(),
    });
    let groups = stored.parked.len() as u64;
    let parked = (groups > 0).then_some(Condition::Parked { groups });
    newest.into_iter().chain(parked).collect()
}

fn of_rabbit(
    answer: &Result<AmqpInspection, AmqpError>,
    settings: &Arc<AmqpSettings>,
) -> Vec<Condition> {
    let inspection = match answer {
        Ok(inspection) => inspection,
        Err(error) => return vec![broker_fails(error)],
    };
    let topology = &settings.topology;
    let queue = match &inspection.queue {
        Ok(state) => Condition::Queue {
            name: topology.queue.clone(),
            ready: state.ready,
            consumers: state.consumers,
        },
        Err(error) => Condition::QueueFails { error: error.to_string() },
    };
    let count = inspection.dead_letters.map_or(0, |state| state.ready);
    let dead = Condition::DeadLetters { count, queue: topology.dead_letter_queue() };
    vec![Condition::BrokerAnswers, queue, dead]
}

fn broker_fails(error: &AmqpError) -> Condition {
    let is_refusal = matches!(error, AmqpError::Refused(_));
    Condition::BrokerFails { error: error.to_string(), is_refusal }
}
