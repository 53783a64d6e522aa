//! `[[route]]`: WebSocket paths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::server::Allow;

/// The file's routes; a file without any has the default one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RouteList(pub(crate) Vec<RouteTable>);

/// `[[route]]`: one WebSocket path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteTable {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) join: Vec<String>,
    #[serde(default)]
    pub(crate) allow: Allow,
    #[serde(default)]
    pub(crate) call_errors: bool,
    pub(crate) welcome: Option<toml::Table>,
    pub(crate) events: Option<BTreeMap<String, EventTable>>,
}

/// `events.<name>`: how a route shows one kind of event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EventTable {
    #[serde(rename = "as")]
    pub(crate) rename: Option<String>,
    pub(crate) keep: Option<Vec<String>>,
    pub(crate) body: Option<String>,
}

impl Default for RouteList {
    /// One path, whose groups come from the token alone.
    fn default() -> Self {
        Self(vec![RouteTable {
            path: "/ws".to_owned(),
            join: Vec::new(),
            allow: Allow::Token,
            call_errors: false,
            welcome: None,
            events: None,
        }])
    }
}
