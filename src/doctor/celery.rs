//! Looks at where the states of Celery's tasks come from.

use super::Finding;
use crate::amqp;
use crate::celery::{CelerySettings, WorkerEvents};
use crate::layer::{RedisSession, RedisSettings};

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

async fn ask(redis: &RedisSettings) -> Result<(), String> {
    RedisSession::open(redis).await.map(drop).map_err(|error| error.to_string())
}
