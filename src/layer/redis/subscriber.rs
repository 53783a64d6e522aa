//! The subscribing connection: what is subscribed, and whether Redis has confirmed it.
//!
//! fred answers SUBSCRIBE before Redis does and drops Redis' own answers. So a PING with a number
//! follows each change: Redis executes the commands of a connection in order, so the returned
//! number is the proof. Any other answer means that replies are out of step (a refused SUBSCRIBE
//! has an unexpected reply), and the connection is renewed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Server;
use fred::types::{ClusterHash, CustomCommand};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::backlog::{Backlogged, MessageBacklog};
use super::boundary::Boundary;
use super::connect::Commands;
use super::names::Names;
use super::redis_health::RedisHealth;
use super::script::layer_error;
use crate::event::Stamp;
use crate::group::GroupName;
use crate::layer::{LayerError, envelope};

/// Names in one SUBSCRIBE.
const CHUNK: usize = 512;

/// Longest wait until the boundary of a connection is in the backlog. It is behind all messages of
/// the connection before, and the backlog may be full.
const BOUNDARY_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two attempts to subscribe again while the connection is up.
const RETRY: Duration = Duration::from_millis(50);

/// A request to the subscriber.
pub(super) enum SubscriptionChange {
    /// Answered once Redis has subscribed them. They stay wanted even if that fails.
    Subscribe(Vec<GroupName>, oneshot::Sender<Result<(), LayerError>>),
    /// Answered once Redis no longer counts this instance among the subscribers.
    Unsubscribe(Vec<GroupName>, oneshot::Sender<()>),
    /// No messages arrive: renew the connection.
    Renew,
}

/// The owner of the subscribed connection.
pub(super) struct Subscriber {
    pub(super) client: Client,
    pub(super) commands: Commands,
    pub(super) names: Arc<Names>,
    pub(super) changes: mpsc::Receiver<SubscriptionChange>,
    pub(super) backlog: MessageBacklog,
    pub(super) redis_health: Arc<RedisHealth>,
    wanted: HashSet<GroupName>,
    reconnects: broadcast::Receiver<Server>,
    errors: broadcast::Receiver<(Error, Option<Server>)>,
    /// The number of the latest PING.
    pings: u64,
    /// Between the messages of the previous connection and those of this one.
    boundary: Arc<Boundary>,
    /// Whether there was a complete subscription before: only its loss can lose messages.
    was_subscribed: bool,
}

impl Subscriber {
    pub(super) fn new(
        client: Client,
        commands: Commands,
        names: Arc<Names>,
        changes: mpsc::Receiver<SubscriptionChange>,
        backlog: MessageBacklog,
        boundary: Arc<Boundary>,
        redis_health: Arc<RedisHealth>,
    ) -> Self {
        Self {
            reconnects: client.reconnect_rx(),
            errors: client.error_rx(),
            wanted: HashSet::new(),
            pings: 0,
            boundary,
            was_subscribed: false,
            client,
            commands,
            names,
            changes,
            backlog,
            redis_health,
        }
    }

    /// Runs until the layer has ended.
    pub(super) async fn run(mut self) {
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewals = self.redis_health.renewals();
        loop {
            let subscribed = self.redis_health.is_subscribed();
            tokio::select! {
                event = self.reconnects.recv() => {
                    if let Err(RecvError::Closed) = event {
                        return;
                    }
                    self.lose();
                }
                _ = self.errors.recv() => self.lose(),
                _ = renewals.changed() => self.handle(SubscriptionChange::Renew).await,
                change = self.changes.recv() => match change {
                    Some(change) => self.handle(change).await,
                    None => return,
                },
                _ = retry.tick(), if !subscribed => self.renew().await,
            }
        }
    }

    async fn handle(&mut self, change: SubscriptionChange) {
        match change {
            SubscriptionChange::Subscribe(groups, answer) => {
                let outcome = self.subscribe(groups).await;
                // The caller may have given up; the groups stay wanted.
                let _ = answer.send(outcome);
            }
            SubscriptionChange::Unsubscribe(groups, answer) => {
                self.unsubscribe(&groups).await;
                let _ = answer.send(());
            }
            SubscriptionChange::Renew => {
                self.lose();
                let _ = self.client.force_reconnection().await;
            }
        }
    }

    async fn subscribe(&mut self, groups: Vec<GroupName>) -> Result<(), LayerError> {
        let names: Vec<_> =
            groups.iter().flat_map(|group| self.names.subscribed_for(group)).collect();
        self.wanted.extend(groups);
        if !self.redis_health.is_subscribed() {
            return Err(LayerError::Unreachable("the subscription is being renewed".to_owned()));
        }
        let confirmed = self.subscribe_channels(names).await;
        if confirmed.is_err() {
            self.lose();
        }
        confirmed
    }

    async fn unsubscribe(&mut self, groups: &[GroupName]) {
        let mut names = Vec::with_capacity(groups.len());
        for group in groups {
            if self.wanted.remove(group) {
                names.extend(self.names.subscribed_for(group));
            }
        }
        for chunk in names.chunks(CHUNK) {
            // A failure means that the connection was lost; the next one never subscribes them.
            let _ = self.commands.unsubscribe(chunk.to_vec()).await;
        }
        if !names.is_empty() && self.redis_health.is_subscribed() && self.confirm().await.is_err() {
            self.lose();
        }
    }

    /// Subscribes everything again on a connection that is new or uncertain. The gap is reported
    /// behind that: a client that then looks elsewhere for what it missed will find what follows
    /// here.
    async fn renew(&mut self) {
        if !self.client.is_connected() {
            return;
        }
        // What follows covers every event up to here.
        drain(&mut self.reconnects);
        drain(&mut self.errors);
        let fixed = self.names.fixed().map(str::to_owned);
        let groups = self.wanted.iter().flat_map(|group| self.names.subscribed_for(group));
        let names: Vec<_> = fixed.into_iter().chain(groups).collect();
        let count = names.len();
        match self.subscribe_anew(names).await {
            Ok(newest) => {
                if std::mem::replace(&mut self.was_subscribed, true) {
                    tracing::warn!(channels = count, "subscription to Redis renewed");
                    self.backlog.push(None, Backlogged::Resubscribed(newest));
                }
                self.redis_health.set_subscribed();
            }
            Err(error) => tracing::warn!(%error, channels = count, "subscribing failed; retrying"),
        }
    }

    /// Subscribes everything, behind the boundary if there was a subscription before. Returns the
    /// place of the newest command then: later ones arrive.
    async fn subscribe_anew(&mut self, names: Vec<String>) -> Result<Stamp, LayerError> {
        if self.was_subscribed {
            self.mark_boundary().await?;
        }
        self.subscribe_channels(names).await?;
        let hget = CustomCommand::new("HGET", ClusterHash::FirstKey, false);
        let field = vec![self.names.generation(), "commands".to_owned()];
        let newest = self.commands.custom::<Option<String>, _>(hget, field).await;
        let newest = newest.map_err(|error| layer_error(&error))?;
        Ok(newest.and_then(|text| envelope::parse_place(&text)).unwrap_or_default())
    }

    /// Marks in the backlog where the messages of this connection begin. Messages of the one before
    /// may not have been read yet: the gap between the two must not come before them.
    async fn mark_boundary(&mut self) -> Result<(), LayerError> {
        let channel = self.names.boundary().to_owned();
        self.subscribe_channels(vec![channel.clone()]).await?;
        let mark = self.boundary.begin();
        let published = self.commands.publish::<i64, _, _>(channel, mark.to_string()).await;
        published.map_err(|error| layer_error(&error))?;
        match timeout(BOUNDARY_TIMEOUT, self.boundary.is_read(mark)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(LayerError::Unreachable("messages wait in front of the hub".to_owned())),
        }
    }

    async fn subscribe_channels(&mut self, names: Vec<String>) -> Result<(), LayerError> {
        for chunk in names.chunks(CHUNK) {
            self.commands.subscribe(chunk.to_vec()).await.map_err(|error| layer_error(&error))?;
        }
        self.confirm().await
    }

    /// Proves that Redis has carried out what was sent before on the present connection.
    async fn confirm(&mut self) -> Result<(), LayerError> {
        self.pings += 1;
        let number = self.pings.to_string();
        let answer = self.commands.ping::<String>(Some(number.clone())).await;
        let cause = match answer {
            Ok(answer) if answer == number => match self.reconnects.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                _ => return Err(LayerError::Unreachable("the connection was lost".to_owned())),
            },
            Ok(_) => LayerError::Unreachable("replies are out of step".to_owned()),
            Err(error) => layer_error(&error),
        };
        if self.client.is_connected() {
            // A surplus reply would be taken for the next command's.
            let _ = self.client.force_reconnection().await;
        }
        Err(cause)
    }

    fn lose(&mut self) {
        if self.redis_health.set_unsubscribed() {
            tracing::warn!("subscription to Redis lost");
        }
    }
}

fn drain<T: Clone>(events: &mut broadcast::Receiver<T>) {
    while !matches!(events.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
}
