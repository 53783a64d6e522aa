//! `[celery]`: the states of Celery's tasks.

use super::range::period;
use super::raw::Raw;
use super::servers::{self, RedisKeys};
use super::{ConfigError, ReferenceContext, redis, tasks};
use crate::amqp::AmqpAddress;
use crate::celery::{CelerySettings, TaskBroker, WorkerEvents};
use crate::layer::RedisSettings;

/// Longest prefix of a task's group: a UUID has 36 of the 99 bytes of a group name.
const MAX_PREFIX: usize = 32;

pub(super) fn celery(raw: &Raw, context: &ReferenceContext) -> Result<CelerySettings, ConfigError> {
    let written = &raw.celery;
    redis::check_name("celery.group_prefix", &written.group_prefix, MAX_PREFIX)?;
    Ok(CelerySettings {
        results: results(raw, context)?,
        events: worker_events(raw, context)?,
        key_prefix: written.key_prefix.clone(),
        group_prefix: written.group_prefix.clone(),
        show_results: written.show_results,
        show_errors: written.show_errors,
        max_event_bytes: raw.limits.max_event_bytes.0,
        start: tasks::tasks(raw, broker(raw, context)?, is_on(raw))?,
    })
}

/// Where the tasks go that browsers start.
fn broker(raw: &Raw, context: &ReferenceContext) -> Result<Option<TaskBroker>, ConfigError> {
    let written = &raw.celery;
    if AmqpAddress::is_meant(&written.broker.0) {
        let url = ("celery.broker", &written.broker);
        let broker = servers::broker(url, ("celery.tls", &written.tls), context)?;
        return Ok(Some(TaskBroker::Amqp(broker)));
    }
    let keys = RedisKeys {
        url: ("celery.broker", &written.broker),
        password_file: ("celery.broker_password_file", &written.broker_password_file),
        tls: ("celery.tls", &written.tls),
    };
    let Some(server) = server(raw, &keys, context)? else { return Ok(None) };
    let key_prefix = written.broker_prefix.clone();
    // As kombu names it, unless its `fanout_prefix` says otherwise.
    let control = format!("{key_prefix}/{}.celery.pidbox", server.address.database());
    Ok(Some(TaskBroker::Redis { server, key_prefix, control }))
}

/// The broker whose workers are listened to.
fn worker_events(
    raw: &Raw,
    context: &ReferenceContext,
) -> Result<Option<WorkerEvents>, ConfigError> {
    let written = &raw.celery;
    let own = written.event_channels.as_str();
    if AmqpAddress::is_meant(&written.events.0) {
        let url = ("celery.events", &written.events);
        let broker = servers::broker(url, ("celery.tls", &written.tls), context)?;
        let exchange = if own.is_empty() { "celeryev" } else { own }.to_owned();
        return Ok(Some(WorkerEvents::Amqp { broker, exchange }));
    }
    let keys = RedisKeys {
        url: ("celery.events", &written.events),
        password_file: ("celery.events_password_file", &written.events_password_file),
        tls: ("celery.tls", &written.tls),
    };
    let Some(server) = server(raw, &keys, context)? else { return Ok(None) };
    let channels = match own {
        // As kombu names them: the number is that of the broker's database.
        "" => format!("/{}.celeryev/*", server.address.database()),
        pattern => pattern.to_owned(),
    };
    Ok(Some(WorkerEvents::Redis { server, channels }))
}

/// Whether states of tasks come from anywhere.
pub(super) fn is_on(raw: &Raw) -> bool {
    !raw.celery.results.0.is_empty() || !raw.celery.events.0.is_empty()
}

fn results(raw: &Raw, context: &ReferenceContext) -> Result<Option<RedisSettings>, ConfigError> {
    let written = &raw.celery;
    let keys = RedisKeys {
        url: ("celery.results", &written.results),
        password_file: ("celery.results_password_file", &written.results_password_file),
        tls: ("celery.tls", &written.tls),
    };
    server(raw, &keys, context)
}

/// The server at an address; `None` = the address is empty.
fn server(
    raw: &Raw,
    keys: &RedisKeys<'_>,
    context: &ReferenceContext,
) -> Result<Option<RedisSettings>, ConfigError> {
    if keys.url.1.0.is_empty() {
        return Ok(None);
    }
    let mut redis = RedisSettings::at(keys.address(context)?);
    redis.timeout = period("layer.timeout", raw.layer.timeout)?;
    Ok(Some(redis))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::celery::WorkerEvents;
    use crate::config::{Config, Overflow, Variables};
    use crate::group::GroupName;

    fn load(celery: &str) -> Result<Config, String> {
        let text = format!("[celery]\n{celery}");
        let config = Config::parse(Path::new("gateway.toml"), &text, Variables::new());
        config.map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))
    }

    #[test]
    fn watches_no_task_without_a_result_back_end() {
        assert!(load("").unwrap().celery.results.is_none());
        assert!(load("results = \"redis://127.0.0.1/1\"").unwrap().celery.results.is_some());
    }

    /// Where on its broker workers publish their events.
    fn place(config: &Config) -> &str {
        match config.celery.events.as_ref().unwrap() {
            WorkerEvents::Redis { channels, .. } => channels,
            WorkerEvents::Amqp { exchange, .. } => exchange,
        }
    }

    #[test]
    fn follows_the_exchange_of_a_broker_that_speaks_amqp() {
        let config = load("events = \"pyamqp://ana:word@rabbit:5672//\"").unwrap();
        assert_eq!(place(&config), "celeryev");
        let tls = "[celery.tls]\nca_file = \"no-ca.pem\"";
        let error = load(&format!("events = \"amqps://ana:word@rabbit\"\n{tls}")).unwrap_err();
        assert!(error.contains("no-ca.pem") && !error.contains("word"), "{error}");
        let error = load(&format!("events = \"amqp://ana:word@rabbit\"\n{tls}")).unwrap_err();
        assert!(error.contains("celery.tls") && !error.contains("word"), "{error}");
    }

    #[test]
    fn follows_the_channels_of_the_brokers_database() {
        for (events, channels) in [
            ("redis://127.0.0.1", "/0.celeryev/*"),
            ("redis://:word@127.0.0.1:6379/3", "/3.celeryev/*"),
        ] {
            let config = load(&format!("events = {events:?}")).unwrap();
            assert_eq!(place(&config), channels);
        }
        let other = "events = \"redis://127.0.0.1\"\nevent_channels = \"site_/0.celeryev/*\"";
        assert_eq!(place(&load(other).unwrap()), "site_/0.celeryev/*");
    }

    #[test]
    fn keeps_only_the_latest_state_of_a_task_for_slow_readers() {
        let overflow = |config: &Config, group: &str| {
            config.connection.limits_of(&GroupName::parse(group).unwrap()).overflow
        };
        let config = load("results = \"redis://127.0.0.1\"\ngroup_prefix = \"tarea.\"").unwrap();
        assert_eq!(overflow(&config, "tarea.1"), Overflow::Latest);
        assert_eq!(overflow(&config, "task.1"), Overflow::DropOldest);
        assert_eq!(overflow(&load("").unwrap(), "task.1"), Overflow::DropOldest);
        let own = "results = \"redis://127.0.0.1\"\n\
                   [[limits.group]]\npattern = \"task.*\"\noverflow = \"close\"";
        assert_eq!(overflow(&load(own).unwrap(), "task.1"), Overflow::Close);
    }

    #[test]
    fn states_replace_states_and_nothing_else_in_the_group_of_a_task() {
        let collapse = |config: &Config, group: &str| {
            config.connection.limits_of(&GroupName::parse(group).unwrap()).collapse
        };
        let config = load("results = \"redis://127.0.0.1\"").unwrap();
        assert_eq!(collapse(&config, "task.1"), Some("id"));
        assert_eq!(collapse(&config, "other"), None);
        let own = |overflow: &str| {
            let collapse = "collapse = \"sku\"";
            let pattern = "[[limits.group]]\npattern = \"prices\"";
            load(&format!("{pattern}\noverflow = {overflow:?}\n{collapse}"))
        };
        assert_eq!(collapse(&own("latest").unwrap(), "prices"), Some("sku"));
        let error = own("close").unwrap_err();
        assert!(error.contains("limits.group[0].collapse"), "{error}");
    }

    #[test]
    fn names_the_address_and_the_prefix_that_cannot_be_used() {
        let error = load("results = \"rpc://\"").unwrap_err();
        assert!(error.contains("celery.results"), "{error}");
        let error = load("group_prefix = \"a task/\"").unwrap_err();
        assert!(error.contains("celery.group_prefix"), "{error}");
    }
}
