//! `[backend]`: the site, which answers the connect hook and calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::backend;
use crate::config::secret::{Secret, has_secret};
use crate::config::units::Period;

/// `[backend]`: its address, its paths, and the bounds of requests to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackendSection {
    pub(crate) url: String,
    pub(crate) connect: String,
    pub(crate) calls: String,
    pub(crate) timeout: Period,
    pub(crate) parallel: usize,
    pub(crate) calls_parallel: usize,
    pub(crate) cache: Period,
    pub(crate) cache_refusals: Period,
    pub(crate) recheck: Period,
    pub(crate) bare_refusals: bool,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) host: String,
    pub(crate) key: Vec<SigningKeyTable>,
}

/// `[[backend.key]]`: a secret that signs requests to the back end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SigningKeyTable {
    #[serde(default = "SigningKeyTable::id")]
    pub(crate) id: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_file: Option<String>,
    pub(crate) secret_env: Option<String>,
}

has_secret!(SigningKeyTable);

impl SigningKeyTable {
    fn id() -> String {
        "1".to_owned()
    }
}

impl Default for BackendSection {
    fn default() -> Self {
        let room = backend::Settings::default();
        Self {
            url: room.url,
            connect: room.connect,
            calls: room.calls,
            timeout: Period(room.timeout),
            parallel: room.parallel,
            calls_parallel: room.calls_parallel,
            cache: Period(room.cache),
            cache_refusals: Period(room.cache_refusals),
            recheck: Period(room.recheck),
            bare_refusals: room.bare_refusals,
            allowed_hosts: room.allowed_hosts,
            headers: BTreeMap::new(),
            host: room.host,
            key: Vec::new(),
        }
    }
}
