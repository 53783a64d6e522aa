//! Shared state of all handshakes.

use std::sync::Arc;

use super::metrics::ServerMetrics;
use super::paths::{Parameters, RoutePath};
use super::settings::Settings;
use crate::backend::Hook;
use crate::channels::MailboxNames;
use crate::hub::Hub;
use crate::identity::Verifier;
use crate::layer::Layer;
use crate::shutdown::Shutdown;
use crate::socket;
use crate::telemetry::{Journal, Metrics};

/// The rooms and settings that the public listener uses.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    /// Limits of every connection, from its first frame on.
    pub(crate) connection: socket::Settings,
    /// Most WebSockets, after the limit on open files.
    pub(crate) max_connections: usize,
    pub(crate) verifier: Arc<Verifier>,
    /// Authenticates browsers without a token.
    pub(crate) hook: Option<Hook>,
    pub(crate) mailboxes: Option<MailboxNames>,
    pub(crate) hub: Hub,
    pub(crate) layer: Layer,
    pub(crate) metrics: Arc<Metrics>,
    /// Who was refused lately.
    pub(crate) journal: Arc<Journal>,
    /// What is counted by label.
    pub(crate) by_label: ServerMetrics,
    pub(crate) shutdown: Shutdown,
}

/// A [`Server`] with parsed route paths.
pub(super) struct Handshakes {
    pub(super) server: Server,
    paths: Vec<RoutePath>,
}

impl Handshakes {
    pub(super) fn new(server: Server) -> Self {
        let paths = server.settings.routes.iter().map(RoutePath::new).collect();
        Self { server, paths }
    }

    /// The index of the first route that matches, and the values of its parameters.
    pub(super) fn route(&self, path: &str) -> Option<(usize, Parameters)> {
        let mut matches = self.paths.iter().map(|route| route.matches(path)).enumerate();
        matches.find_map(|(index, parameters)| Some((index, parameters?)))
    }
}
