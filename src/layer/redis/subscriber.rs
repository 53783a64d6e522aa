//! The one connection that listens: what is subscribed, and whether Redis has said so.
//!
//! fred answers SUBSCRIBE before Redis does and drops Redis' own answers, so each change is followed
//! by a PING with a number: commands of one connection are carried out in order, so its echo on the
//! same connection is the proof. Anything else than the echo means that answers and questions are
//! out of step (a SUBSCRIBE that was refused has an answer that nobody expects), and the connection
//! is made anew.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Server;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::connect::Commands;
use super::names::Names;
use super::receive::Item;
use super::redis_health::RedisHealth;
use crate::group::GroupName;
use crate::layer::{LayerError, unreachable};

/// Names in one SUBSCRIBE.
const CHUNK: usize = 512;

/// Between two attempts to subscribe again while the connection is up.
const RETRY: Duration = Duration::from_millis(50);

/// What the layer wants of the subscriber.
pub(super) enum Order {
    /// Answered once Redis has subscribed them. They stay wanted even if that fails.
    Subscribe(Vec<GroupName>, oneshot::Sender<Result<(), LayerError>>),
    /// Not wanted any more. Answered once Redis counts this instance among their listeners no more.
    Unsubscribe(Vec<GroupName>, oneshot::Sender<()>),
    /// The connection does not carry what it should.
    Renew,
}

/// The owner of the listening connection.
pub(super) struct Subscriber {
    pub(super) client: Client,
    pub(super) commands: Commands,
    pub(super) names: Arc<Names>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) backlog: mpsc::Sender<Item>,
    pub(super) redis_health: Arc<RedisHealth>,
    wanted: HashSet<GroupName>,
    reconnects: broadcast::Receiver<Server>,
    errors: broadcast::Receiver<(Error, Option<Server>)>,
    /// The number of the latest PING.
    pings: u64,
    /// Whether there has been a subscription before: only then can its loss have lost anything.
    resumed: bool,
}

impl Subscriber {
    pub(super) fn new(
        client: Client,
        commands: Commands,
        names: Arc<Names>,
        orders: mpsc::Receiver<Order>,
        backlog: mpsc::Sender<Item>,
        redis_health: Arc<RedisHealth>,
    ) -> Self {
        Self {
            reconnects: client.reconnect_rx(),
            errors: client.error_rx(),
            wanted: HashSet::new(),
            pings: 0,
            resumed: false,
            client,
            commands,
            names,
            orders,
            backlog,
            redis_health,
        }
    }

    /// Works until the layer is gone.
    pub(super) async fn run(mut self) {
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let live = self.redis_health.is_live();
            tokio::select! {
                event = self.reconnects.recv() => {
                    if let Err(RecvError::Closed) = event {
                        return;
                    }
                    self.lose();
                }
                _ = self.errors.recv() => self.lose(),
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                _ = retry.tick(), if !live => self.renew().await,
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Subscribe(groups, answer) => {
                let outcome = self.subscribe(groups).await;
                // Whoever asked may have given up; the groups stay wanted all the same.
                let _ = answer.send(outcome);
            }
            Order::Unsubscribe(groups, answer) => {
                self.unsubscribe(&groups).await;
                let _ = answer.send(());
            }
            Order::Renew => {
                self.lose();
                let _ = self.client.force_reconnection().await;
            }
        }
    }

    async fn subscribe(&mut self, groups: Vec<GroupName>) -> Result<(), LayerError> {
        let names: Vec<_> = groups.iter().flat_map(|group| self.names.heard_by(group)).collect();
        self.wanted.extend(groups);
        if !self.redis_health.is_live() {
            return Err(LayerError::Unreachable("the subscription is being made anew".to_owned()));
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
                names.extend(self.names.heard_by(group));
            }
        }
        for chunk in names.chunks(CHUNK) {
            // What fails here fails with the connection, whose successor never had them.
            let _ = self.commands.unsubscribe(chunk.to_vec()).await;
        }
        if !names.is_empty() && self.redis_health.is_live() && self.confirm().await.is_err() {
            self.lose();
        }
    }

    /// Everything again on a connection that is new or in doubt; then the gap is told, since a client
    /// that looks elsewhere for what it missed must find what follows here.
    async fn renew(&mut self) {
        if !self.client.is_connected() {
            return;
        }
        // Whatever happened up to here is covered by what follows.
        drain(&mut self.reconnects);
        drain(&mut self.errors);
        let own = self.names.own().map(str::to_owned);
        let groups = self.wanted.iter().flat_map(|group| self.names.heard_by(group));
        let names: Vec<_> = own.into_iter().chain(groups).collect();
        let count = names.len();
        if self.resumed && self.backlog.send(Item::Hold).await.is_err() {
            return;
        }
        match self.subscribe_channels(names).await {
            Ok(()) => {
                if std::mem::replace(&mut self.resumed, true) {
                    tracing::warn!(channels = count, "subscription to Redis made anew");
                    if self.backlog.send(Item::Release).await.is_err() {
                        return;
                    }
                }
                self.redis_health.set_live(true);
                self.redis_health.resumed();
            }
            Err(error) => tracing::warn!(%error, channels = count, "not subscribed; tried again"),
        }
    }

    async fn subscribe_channels(&mut self, names: Vec<String>) -> Result<(), LayerError> {
        for chunk in names.chunks(CHUNK) {
            self.commands.subscribe(chunk.to_vec()).await.map_err(unreachable)?;
        }
        self.confirm().await
    }

    /// Proves that Redis has carried out what was sent before on the present connection.
    async fn confirm(&mut self) -> Result<(), LayerError> {
        self.pings += 1;
        let number = self.pings.to_string();
        let echo = self.commands.ping::<String>(Some(number.clone())).await;
        let cause = match echo {
            Ok(echo) if echo == number => match self.reconnects.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                _ => return Err(LayerError::Unreachable("the connection was lost".to_owned())),
            },
            Ok(_) => LayerError::Unreachable("answers are out of step".to_owned()),
            Err(error) => unreachable(error),
        };
        if self.client.is_connected() {
            // An answer too many or too few would be taken for the next one's.
            let _ = self.client.force_reconnection().await;
        }
        Err(cause)
    }

    fn lose(&mut self) {
        if self.redis_health.set_live(false) {
            tracing::warn!("subscription to Redis lost");
        }
    }
}

fn drain<T: Clone>(events: &mut broadcast::Receiver<T>) {
    while !matches!(events.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
}
