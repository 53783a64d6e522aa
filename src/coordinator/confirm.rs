//! Asks the connect hook about connections again, within bounds and beside everything else.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::backend::{Hook, HookRequest, HookVerdict};
use crate::channels::MailboxNames;
use crate::hub::{Confirm, Confirmation, Hub};
use crate::protocol::Disconnect;

/// Confirmations under way; others come back later. They share the hook's turns with those who
/// arrive, and must not fill its queue: whoever is in already can wait.
const UNDER_WAY: usize = 64;

/// Seconds after which a word that could not be had is asked for again, at the earliest, and over
/// how many more the connections are spread.
const AGAIN: u64 = 30;

/// Asks the hook again.
#[derive(Clone)]
pub(super) struct Confirmations {
    hook: Option<Hook>,
    mailboxes: Option<MailboxNames>,
    hub: Hub,
    places: Arc<Semaphore>,
}

impl Confirmations {
    pub(super) fn new(hook: Option<Hook>, mailboxes: Option<MailboxNames>, hub: Hub) -> Self {
        Self { hook, mailboxes, hub, places: Arc::new(Semaphore::new(UNDER_WAY)) }
    }

    /// Serves until the hub ends.
    pub(super) async fn serve(&self, mut confirmations: mpsc::Receiver<Confirm>) {
        while let Some(confirm) = confirmations.recv().await {
            self.begin(confirm).await;
        }
    }

    /// Begins a confirmation or postpones it at once: the coordinator never waits for the back end.
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
        let visitor = HookRequest::unpack(&confirm.request).expect("the hook request was packed");
        let channel = self.mailboxes.as_ref().map(|mailboxes| mailboxes.channel(confirm.to));
        match hook.ask(&visitor, confirm.to, channel).await {
            HookVerdict::Accepted(word) => {
                let (identity, ask_at) = (word.identity.clone(), word.ask_at(confirm.to));
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
    Confirmation::Unknown { after: AGAIN + confirm.to.serial % AGAIN }
}
