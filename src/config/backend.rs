//! The back end that is asked: its address, its keys, and how much of it at once.

use std::time::Duration;

use super::check::{period, seconds, within};
use super::raw::{self, Raw};
use super::secret::Given;
use super::units::Period;
use super::{ConfigError, Place};
use crate::backend::{BackendError, Settings, SigningKey};

/// Most requests at once, of either kind: each is a descriptor out of the reserve.
const MAX_PARALLEL: usize = 128;

/// The longest that an answer may be kept: a logout must show some day.
const LONGEST_CACHE: Period = Period(Duration::from_secs(3600));

/// The room's settings, tried out: what it would refuse at the start is refused here.
pub(super) fn backend(raw: &Raw, place: &Place) -> Result<Settings, ConfigError> {
    let written = &raw.backend;
    let key = |(index, key): (usize, &raw::SigningKey)| signing_key(index, key, place);
    let settings = Settings {
        url: written.url.clone(),
        connect: written.connect.clone(),
        calls: written.calls.clone(),
        timeout: period("backend.timeout", written.timeout)?,
        parallel: parallel("backend.parallel", written.parallel)?,
        calls_parallel: parallel("backend.calls_parallel", written.calls_parallel)?,
        cache: kept("backend.cache", written.cache)?,
        cache_refusals: kept("backend.cache_refusals", written.cache_refusals)?,
        recheck: seconds("backend.recheck", written.recheck)?,
        headers: written.headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect(),
        host: written.host.clone(),
        keys: written.key.iter().enumerate().map(key).collect::<Result<_, _>>()?,
    };
    settings.check().map_err(|error| ConfigError::text(place_of(&error), error))?;
    Ok(settings)
}

fn signing_key(
    index: usize,
    key: &raw::SigningKey,
    place: &Place,
) -> Result<SigningKey, ConfigError> {
    let given = Given {
        key: &format!("backend.key[{index}]"),
        secret: &key.secret,
        secret_file: &key.secret_file,
        secret_env: &key.secret_env,
    };
    Ok(SigningKey { id: key.id.clone(), secret: given.resolve(place)? })
}

fn parallel(key: &str, value: usize) -> Result<usize, ConfigError> {
    within(key, value, 1, MAX_PARALLEL)
}

fn kept(key: &str, value: Period) -> Result<Duration, ConfigError> {
    within(key, value, Period(Duration::ZERO), LONGEST_CACHE).map(|period| period.0)
}

/// The key that an error of the room is about.
fn place_of(error: &BackendError) -> &'static str {
    match error {
        BackendError::Url(_) => "backend.url",
        BackendError::Path(_) => "backend.connect or backend.calls",
        BackendError::Host(_) => "backend.host",
        BackendError::Header(..) => "backend.headers",
        BackendError::NoKey
        | BackendError::KeyId(_)
        | BackendError::KeyTwice(_)
        | BackendError::ShortSecret { .. } => "backend.key",
    }
}
