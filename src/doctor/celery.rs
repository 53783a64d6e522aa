//! Looks at where the states of Celery's tasks come from.

use std::collections::BTreeSet;

use super::Finding;
use crate::amqp::{self, AmqpAddress};
use crate::celery::{CelerySettings, TaskBroker, WorkerEvents};
use crate::layer::{RedisSession, RedisSettings, ScriptError};

/// What the events of workers do not have by themselves.
const PROGRESS: &str = "progress takes groupcast.celery.install(app) in the site's celery.py and \
                        workers with -E; a Redis result back end takes neither";

/// `None` = no states are watched.
pub(super) async fn examine(settings: &CelerySettings) -> Option<Finding> {
    if let Some(redis) = &settings.results {
        return Some(match ask(redis).await {
            Ok(()) => Finding::ok("celery results", "the result back end answers"),
            Err(error) => {
                let advice = "is celery.results what Celery has as result_backend?";
                Finding::fail("celery results", error, advice)
            }
        });
    }
    let answer = match settings.events.as_ref()? {
        WorkerEvents::Redis { server, .. } => ask(server).await,
        WorkerEvents::Amqp { broker, .. } => {
            amqp::ask(broker).await.map_err(|error| error.to_string())
        }
    };
    Some(match answer {
        Ok(()) => Finding::ok("celery events", "the broker answers").hint(PROGRESS),
        Err(error) => {
            let advice = "is celery.events what Celery has as broker_url?";
            Finding::fail("celery events", error, advice)
        }
    })
}

/// The broker of the tasks that browsers start; `None` = they start none.
pub(super) async fn examine_broker(settings: &CelerySettings) -> Option<Finding> {
    let tasks = &settings.start.tasks;
    let broker = settings.start.broker.as_ref().filter(|_| !tasks.is_empty())?;
    let queues: BTreeSet<_> = tasks.values().map(|task| task.queue.as_str()).collect();
    let answer = match broker {
        TaskBroker::Redis { server, key_prefix, .. } => {
            waiting_in_lists(server, key_prefix, &queues).await
        }
        TaskBroker::Amqp(address) => waiting_in_queues(address, &queues).await,
    };
    Some(match answer {
        Ok(waiting) => Finding::ok("celery broker", format!("tasks waiting: {waiting}")),
        Err(error) => {
            let advice = "is celery.broker what Celery has as broker_url, and does a worker read \
                          the queue of each [[task]]?";
            Finding::fail("celery broker", error, advice)
        }
    })
}

async fn waiting_in_lists(
    server: &RedisSettings,
    key_prefix: &str,
    queues: &BTreeSet<&str>,
) -> Result<String, String> {
    let words = |error: ScriptError| error.to_string();
    let redis = RedisSession::open(server).await.map_err(words)?;
    let mut waiting = Vec::new();
    for queue in queues {
        let list = format!("{key_prefix}{queue}");
        let length: i64 = redis.ask(&["LLEN", &list]).await.map_err(words)?;
        waiting.push(format!("{length} in {list}"));
    }
    Ok(waiting.join(", "))
}

async fn waiting_in_queues(
    address: &AmqpAddress,
    queues: &BTreeSet<&str>,
) -> Result<String, String> {
    let mut waiting = Vec::new();
    for queue in queues {
        let (messages, consumers) = amqp::look_at(address, queue)
            .await
            .map_err(|error| format!("queue {queue}: {error}"))?;
        waiting.push(format!("{messages} in {queue}, which {consumers} workers read"));
    }
    Ok(waiting.join(", "))
}

async fn ask(redis: &RedisSettings) -> Result<(), String> {
    RedisSession::open(redis).await.map(drop).map_err(|error| error.to_string())
}
