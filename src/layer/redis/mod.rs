//! The layer over Redis, on two connections: one that subscribes, one for everything else.
//!
//! A publication is one PUBLISH in a script, alone or among many; a group with members here is one
//! channel subscribed. Redis does not store what it publishes, so an instance misses what is
//! published while it is not subscribed: each loss of the subscription is reported as a gap. Groups
//! with history are numbered and kept as well.

mod address_lookup;
mod backlog;
mod boundary;
mod cache;
mod command_stream;
mod connect;
mod credentials;
mod direct_publisher;
mod handle;
mod heartbeat;
mod history_store;
mod history_tables;
mod kept_connection;
mod key_changes;
mod key_watch;
mod known_positions;
mod lag_limit;
mod list_writer;
mod member_counting;
mod message_decoder;
mod names;
mod once;
mod once_batch;
mod peer_lags;
mod position_check;
mod reception;
mod recovery;
mod redis_health;
mod remote;
mod reply;
mod script;
mod script_batch;
mod sentinels;
mod server_identity;
mod session;
mod single_connection;
mod stored;
mod subscriber;
mod subscription_reader;
mod surroundings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::interfaces::{EventInterface, PubsubInterface};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

pub use handle::RedisHandle;
pub use key_changes::{ChangedKeys, KeyChanges};
pub use key_watch::{KeyWatch, MAX_VALUE, ReadValue, WATCH_CHUNK, WatchEvent, WatchedKeys};
pub use list_writer::ListWriter;
pub use names::{Names, overflow_field};
pub use remote::RemoteRedis;
pub use reply::{FromReply, Reply};
pub use script::{LISTENING, NUMBERING, PARKING, Script, ScriptError};
pub use session::RedisSession;
pub use stored::{ParkedGroup, SetAside, StoredEntries};
pub use surroundings::Surroundings;

use super::envelope::EnvelopeCodec;
use super::history::History;
use super::questions::{MAX_ANSWER, PeerAnswers, PeerQuestion, Questions};
use super::{Health, Inbox, KeyedPublication, LayerError, OnceOutcome, RedisSettings};
use crate::event::{Control, InstanceId, Position, Publication, Recovery, Stamp, Target};
use crate::group::GroupName;
use crate::telemetry::Metrics;
use backlog::message_backlog;
use command_stream::CommandStream;
use connect::{AbortOnDrop, Commands};
use direct_publisher::DirectPublisher;
use handle::LayerState;
use heartbeat::InstanceHeartbeat;
use history_store::{HistoryStore, unexpected};
use kept_connection::keep_connected;
use lag_limit::LagLimit;
use peer_lags::PeerLags;
use reception::Reception;
use redis_health::RedisHealth;
use script::layer_error;
use script_batch::ScriptBatch;
use subscriber::SubscriptionChange;

/// Changes of the subscription that may wait; the coordinator sends few, each of many groups.
const CHANGES: usize = 64;

/// Longest wait of a handshake for the stamp of its connection.
const STAMP_TIMEOUT: Duration = Duration::from_secs(1);

/// Capacity of fred's event channels for the connection that carries commands.
const FEW_EVENTS: usize = 32;

/// One instance of a cluster over Redis. Clones share it; its tasks end with the last one.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    names: Arc<Names>,
    commands: Commands,
    histories: Arc<HistoryStore>,
    lag_limit: LagLimit,
    /// Places of publications in the queue of commands. Joins, heartbeats and changes need none.
    publications: Semaphore,
    command_stream: Arc<CommandStream>,
    direct: Arc<DirectPublisher>,
    subscriber: mpsc::Sender<SubscriptionChange>,
    redis_health: Arc<RedisHealth>,
    questions: Arc<Questions>,
    settings: RedisSettings,
    /// Aborted with the layer.
    _tasks: Vec<AbortOnDrop<()>>,
}

impl Redis {
    /// Starts connecting, with retries. Until it is connected, everything is refused.
    ///
    /// # Errors
    /// [`LayerError::Url`]. Must be called within a runtime.
    pub(super) fn start(
        settings: &RedisSettings,
        history: History,
        instance: InstanceId,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Inbox), LayerError> {
        let (external, shares) = (settings.external.clone(), settings.shares);
        let names = Arc::new(Names::new(&settings.cluster, instance, external, shares));
        let codec = Arc::new(EnvelopeCodec::new(instance, &settings.secrets));
        let (client, lookup) = connect::client(settings, FEW_EVENTS)?;
        let redis_health = Arc::new(RedisHealth::new(metrics, lookup.clone()));
        let commands = connect::commands(&client, settings);
        let (subscriber, changes) = mpsc::channel(CHANGES);
        let (health, enters) = (Arc::clone(&redis_health), settings.enters_groups);
        let (of, codec_of) = (Arc::clone(&names), Arc::clone(&codec));
        let histories = HistoryStore::new(history, of, codec_of, commands.clone(), health, enters);
        let histories = Arc::new(histories);
        let direct = Arc::new(DirectPublisher::new(&histories, settings.parking));
        let heartbeat = InstanceHeartbeat {
            max_absence: settings.max_absence,
            commands: commands.clone(),
            reconnects: client.reconnect_rx(),
            errors: client.error_rx(),
            client: client.clone(),
            lookup: lookup.clone(),
            histories: Arc::clone(&histories),
            direct: Arc::clone(&direct),
            names: Arc::clone(&names),
            subscriber: subscriber.clone(),
            redis_health: Arc::clone(&redis_health),
            settings: settings.clone(),
        };
        let command_stream = Arc::new(CommandStream::new(
            Arc::clone(&names),
            Arc::clone(&codec),
            commands.clone(),
            Arc::clone(&redis_health),
        ));
        let questions = Arc::new(Questions::new());
        let backlog = message_backlog(settings.backlog_bytes);
        let peer_lags = Arc::new(PeerLags::default());
        let reception = Reception {
            codec,
            names: Arc::clone(&names),
            backlog: backlog.clone(),
            command_stream: Arc::clone(&command_stream),
            histories: Arc::clone(&histories),
            changes,
            questions: Arc::clone(&questions),
            peer_lags: Arc::clone(&peer_lags),
        };
        let (mut tasks, inbox) = reception.start(settings)?;
        tasks.push(AbortOnDrop(tokio::spawn(heartbeat.run())));
        tasks.push(keep_connected(settings, client, lookup, "commands"));
        let shared = Shared {
            names,
            commands,
            histories,
            lag_limit: LagLimit::new(backlog, peer_lags),
            publications: Semaphore::new((settings.commands * 3).div_ceil(4)),
            command_stream,
            direct,
            subscriber,
            redis_health,
            questions,
            settings: settings.clone(),
            _tasks: tasks,
        };
        Ok((Self(Arc::new(shared)), inbox))
    }

    pub(super) async fn publish(
        &self,
        publication: Publication,
    ) -> Result<Option<Position>, LayerError> {
        let shared = &*self.0;
        let _place = self.place()?;
        shared.lag_limit.check(&publication.target, 0)?;
        let channel = shared.names.of(&publication.target);
        let codec = &shared.histories.codec;
        let bytes = codec.publication(&channel, &publication, Instant::now());
        if let Target::Group(group) = &publication.target {
            self.0.redis_health.check_answering()?;
            if let Some(kept) = shared.histories.of(group) {
                return shared.histories.commit(group, kept, channel, bytes).await.map(Some);
            }
            shared.direct.publish(group, &publication, channel, bytes).await?;
            return Ok(None);
        }
        self.send(channel, bytes).await?;
        Ok(None)
    }

    /// Publishes many by few scripts. A batch is answered before the next one is sent, so that
    /// nothing is sent after an error.
    pub(super) async fn publish_many(
        &self,
        mut publications: Vec<Publication>,
        mut published: impl FnMut(Option<Position>),
    ) -> Result<(), LayerError> {
        if publications.len() == 1
            && let Some(publication) = publications.pop()
        {
            published(self.publish(publication).await?);
            return Ok(());
        }
        let shared = &*self.0;
        let mut rest = publications.as_slice();
        while !rest.is_empty() {
            self.0.redis_health.check_answering()?;
            let _place = self.place()?;
            let history = shared.histories.history();
            let mut batch = ScriptBatch::new(&shared.names, history, &shared.histories.codec);
            let in_time = shared.lag_limit.in_time(rest, |it| it)?;
            let left = batch.fill(in_time, Instant::now()).len();
            let taken = &in_time[..in_time.len() - left];
            rest = &rest[taken.len()..];
            if let Some(sent) = shared.histories.commit_many(batch, &mut published).await? {
                shared.direct.park(&taken[sent..], &mut published).await?;
            }
        }
        Ok(())
    }

    /// As [`Redis::publish_many`], each once under its key.
    pub(super) async fn publish_once(
        &self,
        mut publications: Vec<KeyedPublication>,
        window: Duration,
        mut done: impl FnMut(OnceOutcome),
    ) -> Result<(), LayerError> {
        let shared = &*self.0;
        let mut at = 0;
        while at < publications.len() {
            self.0.redis_health.check_answering()?;
            let _place = self.place()?;
            let mut batch = shared.direct.once_batch();
            let in_time = shared.lag_limit.in_time(&publications[at..], |it| &it.publication)?;
            batch.fill(in_time, Instant::now());
            let counted = |outcome| {
                at += 1;
                done(outcome);
            };
            let first_id = shared.histories.commit_once(batch, window, counted).await?;
            match (first_id, publications.get_mut(at)) {
                (Some(id), Some(next)) => next.publication.id = id,
                (Some(_), None) => return Err(unexpected()),
                (None, _) => {}
            }
        }
        Ok(())
    }

    pub(super) async fn control(&self, control: Control) -> Result<(), LayerError> {
        self.0.redis_health.check_answering()?;
        self.0.command_stream.accept(control).await
    }

    /// As [`Layer::stamp`](super::Layer::stamp).
    pub(crate) async fn stamp(&self) -> Stamp {
        let redis_health = &self.0.redis_health;
        if !redis_health.is_current() {
            let (began, mut heartbeats) = (Instant::now(), redis_health.heartbeats());
            redis_health.want_heartbeat();
            // An answer that waited while the process was stopped is too old.
            let answered = async {
                while !redis_health.is_known_since(began) && heartbeats.changed().await.is_ok() {}
            };
            // Without an answer in time the stamp is that of the last.
            let _ = timeout(STAMP_TIMEOUT, answered).await;
        }
        redis_health.stamp()
    }

    async fn send(&self, channel: String, bytes: Vec<u8>) -> Result<(), LayerError> {
        self.0.redis_health.check_answering()?;
        // The number of receivers is not used: an instance may subscribe without any member.
        let receivers = self.0.commands.publish::<i64, _, _>(channel, Bytes::from(bytes)).await;
        receivers.map(drop).map_err(|error| layer_error(&error))
    }

    /// A place for one command of a publisher.
    fn place(&self) -> Result<SemaphorePermit<'_>, LayerError> {
        let full = |_| LayerError::Unreachable("too many publications wait for redis".to_owned());
        self.0.publications.try_acquire().map_err(full)
    }

    pub(super) async fn subscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        self.0.histories.subscribed(groups);
        let (answer, answered) = oneshot::channel();
        self.change(SubscriptionChange::Subscribe(groups.to_vec(), answer)).await?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    pub(super) async fn unsubscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        let (answer, answered) = oneshot::channel();
        self.change(SubscriptionChange::Unsubscribe(groups.to_vec(), answer)).await?;
        answered.await.map_err(|_| ended())?;
        self.0.histories.known.unsubscribed(groups);
        Ok(())
    }

    async fn change(&self, change: SubscriptionChange) -> Result<(), LayerError> {
        self.0.subscriber.send(change).await.map_err(|_| ended())
    }

    pub(super) async fn recover(
        &self,
        asked: &[(GroupName, Option<Position>)],
    ) -> Result<Vec<Result<Recovery, LayerError>>, LayerError> {
        self.0.redis_health.check_answering()?;
        let answers = self.0.histories.recover(asked).await;
        if !self.0.redis_health.is_subscribed() {
            // An answered join guarantees that later publications arrive.
            return Err(LayerError::Unreachable("nothing is subscribed".to_owned()));
        }
        Ok(answers)
    }

    /// A further connection to the same Redis, for rooms that feed the layer; must be called within
    /// a runtime. Writes to keys with these prefixes are notified.
    pub fn handle(&self, prefixes: Vec<String>) -> Result<(RedisHandle, KeyChanges), LayerError> {
        let state = LayerState {
            names: Arc::clone(&self.0.names),
            codec: Arc::clone(&self.0.histories.codec),
            redis_health: Arc::clone(&self.0.redis_health),
            history: self.0.histories.history().clone(),
        };
        RedisHandle::open(&self.0.settings, state, prefixes)
    }

    /// The names of the cluster's channels and keys.
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// As [`Layer::ask`](super::Layer::ask).
    pub(super) async fn ask(&self, body: Vec<u8>) -> Result<PeerAnswers, LayerError> {
        let shared = &*self.0;
        let codec = &shared.histories.codec;
        let asked: Vec<_> = shared.redis_health.instances();
        let asked = asked.into_iter().filter(|id| *id != codec.instance()).collect::<Vec<_>>();
        if asked.is_empty() {
            return Ok(PeerAnswers::none());
        }
        let full = || LayerError::Unreachable("too many questions are open".to_owned());
        let (number, answers) = shared.questions.open().ok_or_else(full)?;
        let channel = shared.names.questions();
        let bytes = codec.question(channel, number, &body);
        self.send(channel.to_owned(), bytes).await?;
        Ok(PeerAnswers { asked, answers })
    }

    /// As [`Layer::answer`](super::Layer::answer).
    pub(super) async fn answer(
        &self,
        question: &PeerQuestion,
        body: Vec<u8>,
    ) -> Result<(), LayerError> {
        if body.len() > MAX_ANSWER {
            return Ok(());
        }
        let channel = self.0.names.of_instance(question.from);
        let bytes = self.0.histories.codec.answer(&channel, question.number, &body);
        self.send(channel, bytes).await
    }

    pub(super) fn questions(&self) -> Option<mpsc::Receiver<PeerQuestion>> {
        self.0.questions.take()
    }

    pub(super) async fn surroundings(&self) -> Option<Surroundings> {
        let shared = &*self.0;
        let database = shared.settings.address.database();
        Surroundings::of(&shared.commands, &shared.names, database).await
    }

    pub(super) async fn stored(&self) -> Result<StoredEntries, LayerError> {
        self.0.redis_health.check_answering()?;
        StoredEntries::read(&self.0.commands, &self.0.names).await
    }

    pub(super) fn history(&self) -> &History {
        self.0.histories.history()
    }

    pub(super) fn refusal(&self) -> Option<String> {
        self.0.redis_health.refusal()
    }

    pub(super) async fn wrong_server(&self) -> LayerError {
        LayerError::WrongServer(self.0.redis_health.wrong_server().await)
    }

    pub(super) fn advertise(&self, api: SocketAddr) {
        self.0.redis_health.advertise(api);
    }

    pub(super) fn peer_addresses(&self) -> Vec<SocketAddr> {
        self.0.redis_health.peer_addresses()
    }

    pub(super) fn health(&self) -> Health {
        self.0.redis_health.health()
    }
}

fn ended() -> LayerError {
    LayerError::Unreachable("the layer has ended".to_owned())
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("names", &self.0.names).finish_non_exhaustive()
    }
}
