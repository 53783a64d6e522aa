//! Watches the tasks that live as long as the process: one that ends or panics ends the process.
//!
//! A gateway that goes on without its dispatch task answers 200 everywhere and delivers nothing. So
//! it ends with a logged cause, and its process supervisor restarts it.

mod progress;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::watch;

use crate::shutdown::{Phase, Shutdown};
pub(crate) use progress::{Progress, ProgressWatch};

/// Wraps the tasks of a process and reports the first failure. Clones share it.
#[derive(Debug, Clone)]
pub struct Supervisor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    failure: watch::Sender<Option<TaskFailure>>,
    shutdown: Shutdown,
}

/// Why a task is not running although it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskFailure {
    /// It returned before shutdown.
    #[error("task {0:?} ended unexpectedly")]
    Ended(&'static str),
    /// It panicked.
    #[error("task {0:?} panicked: {1}")]
    Panicked(&'static str, String),
}

impl Supervisor {
    /// A supervisor of tasks that may end once `shutdown` has begun.
    pub fn new(shutdown: Shutdown) -> Self {
        Self(Arc::new(Shared { failure: watch::Sender::new(None), shutdown }))
    }

    /// `task`, reported as failed if it panics, or returns before shutdown. Dropping the unfinished
    /// future is no failure: the owner of a task may abort it.
    pub fn supervise<T: Future<Output = ()>>(
        &self,
        name: &'static str,
        task: T,
    ) -> impl Future<Output = ()> + use<T> {
        let shared = Arc::clone(&self.0);
        async move {
            let failure = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(()) if shared.shutdown.phase() != Phase::Running => return,
                Ok(()) => TaskFailure::Ended(name),
                Err(panic) => TaskFailure::Panicked(name, message(&*panic)),
            };
            tracing::error!(%failure, "required task failed");
            shared.failure.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(failure);
                is_first
            });
        }
    }

    /// Waits for the first failure, if there ever is one.
    pub async fn failed(&self) -> TaskFailure {
        let mut failures = self.0.failure.subscribe();
        let first = failures.wait_for(Option::is_some).await.map(|failure| (*failure).clone());
        match first {
            Ok(Some(failure)) => failure,
            // The sender lives in self.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_a_panic_with_the_tasks_name_and_message() {
        let supervisor = Supervisor::new(Shutdown::new());
        let number = 7;
        tokio::spawn(supervisor.supervise("dispatch", async move { panic!("entry {number}") }));
        let expected = TaskFailure::Panicked("dispatch", "entry 7".to_owned());
        assert_eq!(supervisor.failed().await, expected);
    }

    #[tokio::test]
    async fn reports_a_task_that_ends_before_shutdown_and_keeps_the_first_failure() {
        let supervisor = Supervisor::new(Shutdown::new());
        supervisor.supervise("listener", async {}).await;
        supervisor.supervise("other", async {}).await;
        assert_eq!(supervisor.failed().await, TaskFailure::Ended("listener"));
    }

    #[tokio::test]
    async fn a_task_may_end_during_shutdown_or_be_aborted_by_its_owner() {
        let shutdown = Shutdown::new();
        let supervisor = Supervisor::new(shutdown.clone());
        let endless = tokio::spawn(supervisor.supervise("coordinator", std::future::pending()));
        endless.abort();
        assert!(endless.await.unwrap_err().is_cancelled());
        shutdown.drain();
        supervisor.supervise("listener", async {}).await;
        assert!(supervisor.failed().now_or_never().is_none());
    }
}
