//! `[[route]]`: WebSocket paths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The file's routes; a file without any has the default one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Routes(pub(crate) Vec<Route>);

/// `[[route]]`: one WebSocket path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) join: Vec<String>,
    #[serde(default)]
    pub(crate) allow: Allow,
    #[serde(default)]
    pub(crate) call_errors: bool,
    pub(crate) welcome: Option<toml::Table>,
    pub(crate) events: Option<BTreeMap<String, Event>>,
}

/// `route.allow`: whose word fills path parameters into `join`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Allow {
    #[default]
    Token,
    Anyone,
    Hook,
}

/// `events.<name>`: how a route shows one kind of event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Event {
    #[serde(rename = "as")]
    pub(crate) rename: Option<String>,
    pub(crate) keep: Option<Vec<String>>,
    pub(crate) body: Option<String>,
}

impl Default for Routes {
    /// One path, whose groups come from the token alone.
    fn default() -> Self {
        Self(vec![Route {
            path: "/ws".to_owned(),
            join: Vec::new(),
            allow: Allow::Token,
            call_errors: false,
            welcome: None,
            events: None,
        }])
    }
}
