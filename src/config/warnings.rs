//! What is allowed and still worth a thought, and what `serve` cannot do without.

use std::time::Duration;

use super::{Config, ConfigError};
use crate::identity;

/// Digest sizes, bytes: what RFC 7518 section 3.2 asks of a secret.
const SECRET_LENGTHS: [(&str, usize); 3] = [("HS256", 32), ("HS384", 48), ("HS512", 64)];

impl Config {
    /// What `serve` needs beyond a consistent configuration: somebody must be able to get in.
    pub fn check_serves(&self) -> Result<(), ConfigError> {
        if self.identity.keys.is_empty() && !self.backend.has_hook() {
            let allowed = "at least one [[auth.key]], or backend.url with a connect hook, since somebody \
                           must say who a browser is \
                           (to try things, run: groupcast dev)";
            return Err(ConfigError::value("auth.key", "missing", allowed));
        }
        Ok(())
    }

    /// One sentence for each thing that may not be meant.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.warn_of_doors(&mut warnings);
        warn_of_keys(&self.identity, &mut warnings);
        self.warn_of_groups(&mut warnings);
        warnings
    }

    fn warn_of_doors(&self, warnings: &mut Vec<String>) {
        let server = &self.server;
        if !self.api.address.ip().is_loopback() {
            warnings.push(format!(
                "listen.api is {}: keys and events cross the network in clear text; keep it behind \
                 a proxy with TLS or in a private network",
                self.api.address
            ));
        }
        if !server.token_parameter.is_empty() {
            warnings.push(format!(
                "auth.url_parameter is {:?}: URLs end up in the logs of proxies, and the token with \
                 them",
                server.token_parameter
            ));
        }
        let ambient = !server.token_cookie.is_empty() || self.backend.has_hook();
        if !ambient && !server.allowed_origins.is_empty() {
            warnings.push(
                "auth.allowed_origins has no effect: the origin is checked where a cookie or the \
                 connect hook authenticates, and there is neither"
                    .to_owned(),
            );
        }
    }

    fn warn_of_groups(&self, warnings: &mut Vec<String>) {
        for claim in &self.identity.claims {
            warnings.push(format!(
                "{{{claim}}} in a route's join is no parameter of its path: it is read from the \
                 token's claims, and a token without it is refused"
            ));
        }
        if self.identity.api_keys.is_empty() {
            warnings.push("without an [[api.key]] no back end can publish".to_owned());
        }
    }
}

fn warn_of_keys(identity: &identity::Settings, warnings: &mut Vec<String>) {
    for key in &identity.keys {
        let wanted = SECRET_LENGTHS.iter().find(|(algorithm, _)| *algorithm == key.algorithm);
        if let Some((algorithm, length)) = wanted
            && key.material.len() < *length
        {
            warnings.push(format!(
                "the secret of auth.key {:?} has {} bytes; {length} are advised for {algorithm}",
                key.id,
                key.material.len()
            ));
        }
    }
    if identity.audience.is_empty() && !identity.keys.is_empty() {
        warnings.push(
            "auth.audience is empty: a token that the same key signed for another service gets in"
                .to_owned(),
        );
    }
    if identity.leeway > Duration::from_secs(5) {
        warnings.push(format!(
            "auth.leeway is {:?}: a token is believed that long after its end",
            identity.leeway
        ));
    }
}
