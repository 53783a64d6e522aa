//! `[celery]`: the states of Celery's tasks.

use super::range::period;
use super::raw::Raw;
use super::{ConfigError, redis};
use crate::celery::CelerySettings;
use crate::layer::RedisSettings;

/// Longest prefix of a task's group: a UUID has 36 of the 99 bytes of a group name.
const MAX_PREFIX: usize = 32;

pub(super) fn celery(raw: &Raw) -> Result<CelerySettings, ConfigError> {
    let written = &raw.celery;
    redis::check_name("celery.group_prefix", &written.group_prefix, MAX_PREFIX)?;
    Ok(CelerySettings {
        results: results(raw)?,
        key_prefix: written.key_prefix.clone(),
        group_prefix: written.group_prefix.clone(),
        show_results: written.show_results,
        show_errors: written.show_errors,
        max_event_bytes: raw.limits.max_event_bytes.0,
    })
}

fn results(raw: &Raw) -> Result<Option<RedisSettings>, ConfigError> {
    let url = &raw.celery.results.0;
    if url.is_empty() {
        return Ok(None);
    }
    let unusable =
        |source| ConfigError::Text { key: "celery.results".to_owned(), source: Box::new(source) };
    let mut redis = RedisSettings::new(url).map_err(unusable)?;
    redis.timeout = period("layer.timeout", raw.layer.timeout)?;
    Ok(Some(redis))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, Variables};

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

    #[test]
    fn names_the_address_and_the_prefix_that_cannot_be_used() {
        let error = load("results = \"rpc://\"").unwrap_err();
        assert!(error.contains("celery.results"), "{error}");
        let error = load("group_prefix = \"a task/\"").unwrap_err();
        assert!(error.contains("celery.group_prefix"), "{error}");
    }
}
