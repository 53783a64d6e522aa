//! What receives messages: the tasks between the subscribed connection and the inbox.

use std::sync::Arc;

use fred::interfaces::EventInterface;
use tokio::sync::mpsc;

use super::backlog::MessageBacklog;
use super::boundary::Boundary;
use super::command_stream::{CommandReplay, CommandStream, append_again};
use super::connect::{self, AbortOnDrop, EVENTS};
use super::history_store::HistoryStore;
use super::kept_connection::keep_connected;
use super::message_decoder::MessageDecoder;
use super::names::Names;
use super::peer_lags::{LagReporter, PeerLags};
use super::position_check::PositionCheck;
use super::subscriber::{Subscriber, SubscriptionChange};
use super::subscription_reader::SubscriptionReader;
use crate::layer::envelope::EnvelopeCodec;
use crate::layer::questions::Questions;
use crate::layer::{Inbox, LayerError, RedisSettings};
use crate::telemetry::LogLimit;

/// Decoded messages that may wait. Few, since they take no turns any more: a message waits for its
/// group's turn in the backlog.
const DECODED: usize = 16;

/// What the tasks are made of.
pub(super) struct Reception {
    pub(super) names: Arc<Names>,
    pub(super) codec: Arc<EnvelopeCodec>,
    pub(super) backlog: MessageBacklog,
    pub(super) command_stream: Arc<CommandStream>,
    pub(super) histories: Arc<HistoryStore>,
    pub(super) changes: mpsc::Receiver<SubscriptionChange>,
    pub(super) questions: Arc<Questions>,
    pub(super) peer_lags: Arc<PeerLags>,
}

impl Reception {
    pub(super) fn start(
        self,
        settings: &RedisSettings,
    ) -> Result<(Vec<AbortOnDrop<()>>, Inbox), LayerError> {
        let Self { names, codec, backlog, command_stream, histories, .. } = self;
        let redis_health = command_stream.redis_health();
        let (client, lookup) = connect::client(settings, EVENTS)?;
        let (sender, inbox) = mpsc::channel(DECODED);
        let boundary = Arc::new(Boundary::default());
        let reader = SubscriptionReader {
            messages: client.message_rx(),
            names: Arc::clone(&names),
            codec: Arc::clone(&codec),
            backlog: backlog.clone(),
            redis_health: Arc::clone(redis_health),
            questions: self.questions,
            peer_lags: self.peer_lags,
            boundary: Arc::clone(&boundary),
        };
        let reporter = LagReporter { backlog: backlog.clone(), histories: Arc::clone(&histories) };
        let decoder = MessageDecoder {
            backlog: backlog.clone(),
            replay: CommandReplay::new(Arc::clone(&command_stream), sender.clone()),
            inbox: sender,
            max_event_bytes: settings.max_event_bytes,
            held_bytes: settings.backlog_bytes,
            names: Arc::clone(&names),
            codec,
            redis_health: Arc::clone(redis_health),
            positions: PositionCheck::new(histories),
            unreadable_log: LogLimit::default(),
        };
        let subscriber = Subscriber::new(
            client.clone(),
            connect::subscriptions(&client, settings),
            names,
            self.changes,
            backlog,
            boundary,
            Arc::clone(redis_health),
        );
        let tasks = vec![
            AbortOnDrop(tokio::spawn(reporter.run())),
            AbortOnDrop(tokio::spawn(append_again(Arc::clone(&command_stream)))),
            AbortOnDrop(tokio::spawn(reader.run())),
            AbortOnDrop(tokio::spawn(decoder.run())),
            AbortOnDrop(tokio::spawn(subscriber.run())),
            keep_connected(settings, client, lookup, "subscription"),
        ];
        Ok((tasks, Inbox::of_channel(inbox)))
    }
}
