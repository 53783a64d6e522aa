//! `[backend]`: its address, its signing keys, and the bounds of requests to it.

use std::time::Duration;

use super::range::{period, seconds, within};
use super::raw::{self, Raw};
use super::secret::HasSecret;
use super::units::Period;
use super::{ConfigError, ReferenceContext};
use crate::backend::{BackendError, Settings, SigningKey};

/// The most concurrent requests of either kind, since each uses a reserved descriptor.
const MAX_PARALLEL: usize = 128;

/// The longest time for which an answer may be cached, since a logout must take effect.
const LONGEST_CACHE: Period = Period(Duration::from_secs(3600));

/// The settings of `backend`, checked by it, so that nothing is refused later at startup.
pub(super) fn backend(raw: &Raw, context: &ReferenceContext) -> Result<Settings, ConfigError> {
    let written = &raw.backend;
    let key = |(index, key): (usize, &raw::SigningKeyTable)| signing_key(index, key, context);
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
        bare_refusals: written.bare_refusals,
        allowed_hosts: written.allowed_hosts.clone(),
        headers: written.headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect(),
        host: written.host.clone(),
        keys: written.key.iter().enumerate().map(key).collect::<Result<_, _>>()?,
    };
    settings.check().map_err(|error| ConfigError::text(key_of(&error), error))?;
    Ok(settings)
}

fn signing_key(
    index: usize,
    key: &raw::SigningKeyTable,
    context: &ReferenceContext,
) -> Result<SigningKey, ConfigError> {
    let secret = key.secret_keys().resolve(&format!("backend.key[{index}]"), context)?;
    Ok(SigningKey { id: key.id.clone(), secret })
}

fn parallel(key: &str, value: usize) -> Result<usize, ConfigError> {
    within(key, value, 1, MAX_PARALLEL)
}

fn kept(key: &str, value: Period) -> Result<Duration, ConfigError> {
    within(key, value, Period(Duration::ZERO), LONGEST_CACHE).map(|period| period.0)
}

/// The key that an error is about.
fn key_of(error: &BackendError) -> &'static str {
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
    use std::path::Path;

    use crate::config::{Config, Variables};
    use crate::server::Allow;

    const SECRET: &str = "secret = \"0123456789abcdef0123456789abcdef\"";

    /// `keys` of `[backend]`, with a signing key.
    fn load(keys: &str, rest: &str) -> Result<Config, String> {
        let text = format!("[backend]\n{keys}\n[[backend.key]]\n{SECRET}\n{rest}");
        let loaded = Config::parse(Path::new("gateway.toml"), &text, Variables::new());
        loaded.map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
    }

    #[test]
    fn enables_hook_and_calls_by_address_and_key() {
        let headers = "headers = { \"X-Forwarded-Proto\" = \"https\" }";
        let config = load(&format!("url = \"http://127.0.0.1:8000\"\n{headers}"), "").unwrap();
        assert!(config.backend.has_hook() && config.backend.has_calls());
        assert_eq!(config.backend.headers, [("X-Forwarded-Proto".into(), "https".into())]);
        assert!(config.check_serves().is_ok(), "the hook authenticates; no token is needed");
        let config = load("url = \"http://h\"\nconnect = \"\"", "").unwrap();
        assert!(!config.backend.has_hook() && config.backend.has_calls());
        assert!(config.check_serves().is_err());
        assert!(!load("", "").unwrap().backend.has_calls(), "without a url there is none");
    }

    #[test]
    fn allows_routes_by_hook_where_a_hook_is_configured() {
        let route = "[[route]]\npath = \"/ws/{sala}/\"\njoin = [\"chat_{sala}\"]\nallow = \"hook\"";
        let config = load("url = \"http://h\"", route).unwrap();
        assert_eq!(config.server.routes[0].allow, Allow::Hook);
        let refusal = load("", route).unwrap_err();
        assert!(refusal.contains("backend.url"), "{refusal}");
    }

    #[test]
    fn names_the_key_of_an_unusable_value() {
        for (keys, named) in [
            ("url = \"https://h\"", "backend.url"),
            ("connect = \"hook\"", "backend.connect"),
            ("url = \"http://h\"\nheaders = { Host = \"x\" }", "backend.headers"),
            ("url = \"http://h\"\nhost = \"a b\"", "backend.host"),
            ("parallel = 0", "backend.parallel = 0: expected 1 to 128"),
            ("cache = \"2h\"", "backend.cache = 2h"),
            ("recheck = \"1ms\"", "backend.recheck = 1ms"),
        ] {
            let refusal = load(keys, "").unwrap_err();
            assert!(refusal.contains(named), "{keys}: {refusal}");
        }
        let twice = load("", &format!("[[backend.key]]\n{SECRET}")).unwrap_err();
        assert!(twice.contains("backend.key") && twice.contains("twice"), "{twice}");
    }
}
