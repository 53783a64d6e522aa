//! Serves the requests of the hub, each kind independently.

use std::sync::Arc;

use super::Settings;
use super::call_refusals::CallRefusals;
use super::calls::CallQueue;
use super::confirm::Confirmations;
use super::membership::MembershipHandler;
use super::sends::SendQueue;
use crate::backend::BackEnd;
use crate::celery::{TaskStarter, TaskWatcher};
use crate::channels::{GroupRegistrar, MailboxNames};
use crate::hub::{Hub, Requests};
use crate::layer::Layer;
use crate::publish::Publisher;
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// Serves all requests of the hub.
pub(crate) struct Coordinator {
    membership: MembershipHandler,
    sends: SendQueue,
    calls: CallQueue,
    confirmations: Confirmations,
}

/// The rooms that serve the requests.
pub(crate) struct Collaborators {
    /// For joins.
    pub layer: Layer,
    /// For joins, if Django's senders are to find the groups.
    pub registrar: Option<GroupRegistrar>,
    /// For joins of the groups of tasks, if their states are watched.
    pub tasks: Option<TaskWatcher>,
    /// For calls that start tasks.
    pub starter: Option<TaskStarter>,
    /// Gives connections their channel names for Django.
    pub mailboxes: Option<MailboxNames>,
    /// For sends.
    pub publisher: Arc<Publisher>,
    /// For calls, and for the identities of browsers.
    pub backend: BackEnd,
}

impl Coordinator {
    /// A coordinator that serves `hub`; its workers end with it.
    pub(crate) fn new(
        settings: &Settings,
        hub: Hub,
        collaborators: Collaborators,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Self {
        let Collaborators { layer, registrar, tasks, starter, mailboxes, publisher, backend } =
            collaborators;
        let sends = SendQueue::new(hub.clone(), publisher);
        let refusals = CallRefusals::new(hub.clone(), metrics);
        let calls = CallQueue::new(backend.calls, mailboxes.clone(), starter, refusals);
        let confirmations = Confirmations::new(backend.hook, mailboxes, hub.clone());
        let membership =
            MembershipHandler::new(hub, layer, registrar, tasks, settings.linger, shutdown);
        Self { membership, sends, calls, confirmations }
    }

    /// Serves until the hub ends. No kind of request waits for another.
    pub(crate) async fn serve(mut self, requests: Requests) {
        let Requests { memberships, sends, calls, confirmations } = requests;
        tokio::join!(
            self.membership.serve(memberships),
            self.sends.serve(sends),
            self.calls.serve(calls),
            self.confirmations.serve(confirmations),
        );
    }
}
