//! Asks the sentinels where the primary is: each second, and when one reports a failover.
//!
//! The client library's own way asks them when a connection is lost only. After a planned failover
//! it stays with the old primary for ten seconds, which takes writes and throws them away.

use std::sync::Arc;
use std::time::Duration;

use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::{ClusterHash, CustomCommand, Value};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::connect::{self, Commands};
use super::script::{ScriptError, read, sort};
use super::single_connection::connect_once;
use crate::layer::RedisSettings;
use crate::layer::address::{Asking, KnownPrimary, NamedPrimary, SentinelFault};

/// Between two questions to one sentinel.
const INTERVAL: Duration = Duration::from_secs(1);

/// Events of one sentinel that may wait: it is asked once for all of them.
const EVENTS: usize = 16;

/// What a sentinel publishes when it has promoted a replica, and when it has heard of that.
const CHANNELS: [&str; 2] = ["+promoted-slave", "+switch-master"];

/// Has the sentinels of this address asked for as long as the answer lives, if it has any.
pub(super) fn ask_sentinels(settings: &RedisSettings) -> Option<Arc<Asking>> {
    let sentinels = settings.address.asked()?;
    let start = || {
        let each = settings.sentinels().into_iter().enumerate();
        let tasks = each.map(|(index, settings)| {
            let one = OneSentinel {
                settings,
                service: sentinels.service.clone(),
                index,
                count: sentinels.nodes.len(),
                known: Arc::clone(&sentinels.known),
            };
            tokio::spawn(one.run())
        });
        Asking(tasks.collect())
    };
    Some(sentinels.known.asking(start))
}

/// Asks one of the sentinels.
struct OneSentinel {
    settings: RedisSettings,
    service: String,
    index: usize,
    count: usize,
    known: Arc<KnownPrimary>,
}

impl OneSentinel {
    async fn run(self) {
        let mut logged = None;
        loop {
            let error = match self.ask_repeatedly(&mut logged).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let fault = SentinelFault {
                is_refusal: matches!(error, ScriptError::Refused(_)),
                words: format!("the sentinel {}: {error}", self.settings.place()),
            };
            if logged.as_ref() != Some(&fault.words) {
                tracing::warn!(error = fault.words, "a sentinel does not name the primary");
                logged = Some(fault.words.clone());
            }
            self.known.answered(self.index, self.count, Err(fault));
            sleep(INTERVAL).await;
        }
    }

    /// Asks on one connection until it fails. `logged` is forgotten once there is an answer.
    async fn ask_repeatedly(
        &self,
        logged: &mut Option<String>,
    ) -> Result<std::convert::Infallible, ScriptError> {
        let (client, lookup) = connect::client_without_retry(&self.settings, EVENTS)?;
        let mut events = client.message_rx();
        let commands = connect::commands(&client, &self.settings);
        let _connection = connect_once(&client, &lookup, self.settings.timeout).await?;
        let subscribed = commands.subscribe(CHANNELS.to_vec()).await;
        subscribed.map_err(|error| sort(&error))?;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let primary = named(&commands, &self.service).await?;
            if logged.take().is_some() {
                tracing::info!(sentinel = self.settings.place(), "a sentinel answers again");
            }
            self.known.answered(self.index, self.count, Ok(primary));
            tokio::select! {
                _ = ticks.tick() => {}
                // Whatever it says, the answer is the truth.
                _ = events.recv() => {}
            }
        }
    }
}

/// The primary that a sentinel names.
async fn named(commands: &Commands, service: &str) -> Result<NamedPrimary, ScriptError> {
    let ask = |question: &'static str| {
        let command = CustomCommand::new_static("SENTINEL", ClusterHash::FirstKey, false);
        commands.custom::<Value, _>(command, vec![question.to_owned(), service.to_owned()])
    };
    // Sent together: a failover between the two gives an old epoch, which counts for less.
    let (known, address) = tokio::join!(ask("MASTER"), ask("GET-MASTER-ADDR-BY-NAME"));
    let unknown = || ScriptError::Refused(format!("it watches no primary called {service:?}"));
    let (host, port) = read::<Option<(String, u64)>>(address)?.ok_or_else(unknown)?;
    let fields = read::<Vec<String>>(known)?;
    let epoch = fields.chunks_exact(2).find(|pair| pair[0] == "config-epoch");
    Ok(NamedPrimary {
        host,
        port: port.try_into().map_err(|_| unknown())?,
        epoch: epoch.and_then(|pair| pair[1].parse().ok()).unwrap_or(0),
    })
}
