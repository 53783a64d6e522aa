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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::config::{Config, Place, Variables, check};
    use crate::server::Allow;

    const SECRET: &str = "secret = \"0123456789abcdef0123456789abcdef\"";

    /// `keys` of `[backend]`, with a signing key.
    fn load(keys: &str, rest: &str) -> Result<Config, String> {
        let text = format!("[backend]\n{keys}\n[[backend.key]]\n{SECRET}\n{rest}");
        let load = || {
            let raw = Config::parse(Path::new("gateway.toml"), &text, &Variables::new())?;
            check::check(&raw, &Place { folder: PathBuf::new(), variables: Variables::new() })
        };
        load().map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
    }

    #[test]
    fn a_back_end_is_had_by_its_address_and_a_key() {
        let headers = "headers = { \"X-Forwarded-Proto\" = \"https\" }";
        let config = load(&format!("url = \"http://127.0.0.1:8000\"\n{headers}"), "").unwrap();
        assert!(config.backend.has_hook() && config.backend.has_calls());
        assert_eq!(config.backend.headers, [("X-Forwarded-Proto".into(), "https".into())]);
        assert!(config.check_serves().is_ok(), "the hook says who somebody is; no token is needed");
        let config = load("url = \"http://h\"\nconnect = \"\"", "").unwrap();
        assert!(!config.backend.has_hook() && config.backend.has_calls());
        assert!(config.check_serves().is_err());
        assert!(!load("", "").unwrap().backend.has_calls(), "without a url there is none");
    }

    #[test]
    fn a_route_may_be_the_hooks_where_there_is_one() {
        let route = "[[route]]\npath = \"/ws/{sala}/\"\njoin = [\"chat_{sala}\"]\nallow = \"hook\"";
        let config = load("url = \"http://h\"", route).unwrap();
        assert_eq!(config.server.routes[0].allow, Allow::Hook);
        let refusal = load("", route).unwrap_err();
        assert!(refusal.contains("backend.url"), "{refusal}");
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_key() {
        for (keys, named) in [
            ("url = \"https://h\"", "backend.url"),
            ("connect = \"hook\"", "backend.connect"),
            ("url = \"http://h\"\nheaders = { Host = \"x\" }", "backend.headers"),
            ("url = \"http://h\"\nhost = \"a b\"", "backend.host"),
            ("parallel = 0", "backend.parallel is 0; allowed is 1 to 128"),
            ("cache = \"2h\"", "backend.cache is 2h"),
            ("recheck = \"1ms\"", "backend.recheck is 1ms"),
        ] {
            let refusal = load(keys, "").unwrap_err();
            assert!(refusal.contains(named), "{keys}: {refusal}");
        }
        let twice = load("", &format!("[[backend.key]]\n{SECRET}")).unwrap_err();
        assert!(twice.contains("backend.key") && twice.contains("twice"), "{twice}");
    }
}
