//! The tasks that the wiring starts: supervised, and aborted with the gateway.

use tokio::task::JoinSet;

use crate::supervisor::Supervisor;

/// The tasks of a gateway.
pub(super) struct Tasks {
    pub(super) supervisor: Supervisor,
    running: JoinSet<()>,
}

impl Tasks {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor, running: JoinSet::new() }
    }

    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.running.spawn(self.supervisor.supervise(name, task));
    }
}
