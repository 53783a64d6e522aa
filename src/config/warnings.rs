//! Warnings of a valid configuration, and what `serve` needs beyond validity.

use std::time::Duration;

use super::{Config, ConfigError};
use crate::{identity, layer};

/// Digest sizes, bytes: what RFC 7518 section 3.2 asks of a secret.
const SECRET_LENGTHS: [(&str, usize); 3] = [("HS256", 32), ("HS384", 48), ("HS512", 64)];

impl Config {
    /// Checks what `serve` needs beyond a valid configuration: a way to authenticate.
    pub fn check_serves(&self) -> Result<(), ConfigError> {
        if self.identity.keys.is_empty() && !self.backend.has_hook() {
            let expected = "at least one [[auth.key]], or backend.url with a connect hook, to \
                            authenticate browsers (to try the gateway, run: groupcast dev)";
            return Err(ConfigError::problem("auth.key", "is missing", expected));
        }
        Ok(())
    }

    /// One sentence for each valid setting that may be a mistake.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.warn_of_listeners(&mut warnings);
        warn_of_keys(&self.identity, &mut warnings);
        self.warn_of_groups(&mut warnings);
        self.warn_of_variables(&mut warnings);
        warnings.extend(self.warning_of_cluster());
        warnings
    }

    fn warn_of_listeners(&self, warnings: &mut Vec<String>) {
        let server = &self.server;
        if !self.api.address.ip().is_loopback() {
            warnings.push(format!(
                "listen.api = {}: keys and events cross the network in clear text; keep it behind \
                 a proxy with TLS or in a private network",
                self.api.address
            ));
        }
        if !server.token_parameter.is_empty() {
            warnings.push(format!(
                "auth.url_parameter = {:?}: proxies log URLs, and so the token",
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
                "{{{claim}}} in a route's join is not a parameter of its path: it is read from the \
                 token's claims, and a token without the claim is refused"
            ));
        }
        if self.identity.api_keys.is_empty() {
            warnings.push("without an [[api.key]] no back end can publish".to_owned());
        }
    }

    fn warning_of_cluster(&self) -> Option<String> {
        let layer::Kind::Redis(redis) = &self.layer.kind else { return None };
        (redis.cluster == layer::DEFAULT_CLUSTER).then(|| {
            format!(
                "layer.cluster = {:?} is the default: another site with the same on this Redis, \
                 even in another database, has the same groups and events",
                redis.cluster
            )
        })
    }

    fn warn_of_variables(&self, warnings: &mut Vec<String>) {
        let named = self.ignored_variables.iter().filter(|name| !is_service_link(name));
        let warning = |name| format!("variable {name} names no key of the configuration: ignored");
        warnings.extend(named.map(warning));
    }
}

/// Whether Kubernetes sets this variable in each container beside a Service whose name begins with
/// groupcast: `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_PORT`, `…_PORT_8080_TCP_ADDR` and the like.
fn is_service_link(name: &str) -> bool {
    let part = |part: &str| name.ends_with(part) || name.contains(&format!("{part}_"));
    part("_SERVICE_HOST") || part("_SERVICE_PORT") || part("_PORT")
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
            "auth.audience = []: tokens that the same key signed for other services are accepted"
                .to_owned(),
        );
    }
    if identity.leeway > Duration::from_secs(5) {
        warnings.push(format!(
            "auth.leeway = {:?}: tokens are accepted that long after they expired",
            identity.leeway
        ));
    }
}
