//! `[cluster]`: the secrets with which instances sign what they send to each other.

use super::raw::{ClusterSection, Raw};
use super::secret::HasSecret;
use super::{ConfigError, ReferenceContext};
use crate::layer::ClusterSecrets;

/// Shortest secret, bytes: as long as the HMAC's output, as for tokens and the back end.
const MIN_BYTES: usize = 32;

pub(super) fn secrets(
    raw: &Raw,
    context: &ReferenceContext,
) -> Result<ClusterSecrets, ConfigError> {
    let ClusterSection { require, key } = &raw.cluster;
    if *require && key.is_empty() {
        let expected = "false without a [[cluster.key]], or everything would be discarded";
        return Err(ConfigError::value("cluster.require", require, expected));
    }
    let secret = |(index, table): (usize, &_)| {
        let name = format!("cluster.key[{index}]");
        let secret = HasSecret::secret_keys(table).resolve(&name, context)?;
        if secret.len() < MIN_BYTES {
            let problem = format!("has a secret of {} bytes", secret.len());
            return Err(ConfigError::problem(&name, problem, "at least 32 bytes"));
        }
        Ok(secret)
    };
    let secrets = key.iter().enumerate().map(secret).collect::<Result<_, _>>()?;
    Ok(ClusterSecrets { secrets, require: *require })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Variables};
    use crate::layer::Kind;

    const KEY: &str = "[[cluster.key]]\nsecret = \"0123456789abcdef0123456789abcdef\"\n";

    fn load(cluster: &str) -> Result<ClusterSecrets, String> {
        let text = format!("[layer]\nkind = \"redis\"\n{cluster}");
        let config = Config::parse(Path::new("gateway.toml"), &text, Variables::new());
        match config.map_err(|error| error.to_string())?.layer.kind {
            Kind::Redis(redis) => Ok((*redis.secrets).clone()),
            Kind::Memory => panic!("the layer is Redis"),
        }
    }

    #[test]
    fn takes_several_secrets_in_order() {
        let secrets = load(&format!("[cluster]\nrequire = true\n{KEY}{KEY}")).unwrap();
        assert!(secrets.require);
        assert_eq!(secrets.secrets.len(), 2);
        assert!(load("").unwrap().secrets.is_empty());
    }

    #[test]
    fn refuses_a_short_secret_and_a_requirement_without_one() {
        let short = load("[[cluster.key]]\nsecret = \"short\"\n").unwrap_err();
        assert!(short.contains("cluster.key[0]") && short.contains("5 bytes"), "{short}");
        assert!(!short.contains("short"), "{short}");
        let without = load("[cluster]\nrequire = true\n").unwrap_err();
        assert!(without.contains("cluster.require"), "{without}");
    }
}
