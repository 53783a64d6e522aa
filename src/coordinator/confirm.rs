//! Confirms identities by asking the connect hook again, within bounds and in the background.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::backend::{Hook, HookRequest, HookVerdict};
use crate::channels::MailboxNames;
use crate::hub::{Confirm, Confirmation, Hub};
use crate::protocol::Disconnect;

/// Confirmations in flight; others are postponed. They share the hook's queue with new connections
/// and must not fill it: connections that are open can wait.
const MAX_IN_FLIGHT: usize = 64;

/// Seconds until a failed confirmation is repeated. Connections are spread over as many more
/// seconds.
const RETRY_AFTER: u64 = 30;

/// Sends confirmations to the hook.
#[derive(Clone)]
pub(super) struct Confirmations {
    hook: Option<Hook>,
    mailboxes: Option<MailboxNames>,
    hub: Hub,
    places: Arc<Semaphore>,
}

impl Confirmations {
    pub(super) fn new(hook: Option<Hook>, mailboxes: Option<MailboxNames>, hub: Hub) -> Self {
        Self { hook, mailboxes, hub, places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)) }
    }

    /// Serves until the hub ends.
    pub(super) async fn serve(&self, mut confirmations: mpsc::Receiver<Confirm>) {
        while let Some(confirm) = confirmations.recv().await {
            self.begin(confirm).await;
        }
    }

    /// Starts a confirmation or postpones it: the coordinator never waits for the back end.
    async fn begin(&self, confirm: Confirm) {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let (Some(hook), Ok(place)) = (self.hook.clone(), place) else {
            return self.answer(&confirm, later(&confirm)).await;
        };
        let own = self.clone();
        tokio::spawn(async move {
            let outcome = own.ask(&hook, &confirm).await;
            drop(place);
            own.answer(&confirm, outcome).await;
        });
    }

    async fn ask(&self, hook: &Hook, confirm: &Confirm) -> Confirmation {
        let request = HookRequest::unpack(&confirm.request).expect("the hook request was packed");
        let channel = self.mailboxes.as_ref().map(|mailboxes| mailboxes.channel(confirm.to));
        match hook.ask(&request, confirm.to, channel).await {
            HookVerdict::Accepted(accepted) => {
                let (identity, ask_at) = (accepted.identity.clone(), accepted.ask_at(confirm.to));
                Confirmation::StillValid { identity, ask_at }
            }
            HookVerdict::Unauthorized => {
                Confirmation::Ended(Disconnect::UNAUTHORIZED.because("no longer logged in"))
            }
            HookVerdict::Forbidden => Confirmation::Ended(Disconnect::FORBIDDEN),
            HookVerdict::Unknown(_) => later(confirm),
        }
    }

    async fn answer(&self, confirm: &Confirm, outcome: Confirmation) {
        self.hub.confirmed(confirm.shard, confirm.to, outcome).await;
    }
}

fn later(confirm: &Confirm) -> Confirmation {
    Confirmation::Unknown { after: RETRY_AFTER + confirm.to.serial % RETRY_AFTER }
}
