//! The connect hook: the back end is asked who somebody is, seldom, by few at a time, and never
//! twice at once about the same.

mod breaker;
mod memory;
mod shared;
mod trial;
mod visitor;
mod word;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::client::Ask;
use super::{Answer, AskError, BackendError, Client, Settings};
use crate::event::ConnectionId;
use crate::identity::Verifier;
use crate::layer::Redis;
use crate::telemetry::{BackendOutcome, HookSource, Metrics};
use breaker::Breaker;
use memory::{Found, Memory};
use shared::Note;
use visitor::Key;

pub use trial::{Trial, try_hook};
pub use visitor::Visitor;
pub(super) use visitor::path_header;
pub use word::{Accepted, Word};

/// Questions that may wait for their turn; more visitors are told to come back. Half of the
/// handshakes that may be under way by default, so that those with tokens find room.
const WAITING: usize = 512;

/// Asks who somebody is. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Hook(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    target: String,
    verifier: Arc<Verifier>,
    cache: Duration,
    cache_refusals: Duration,
    recheck: Duration,
    /// For the digests by which words are found again.
    secret: hmac::Key,
    memory: Mutex<Memory>,
    /// Where instances share what they were told, if there are several.
    redis: Option<Redis>,
    breaker: Breaker,
    turns: Semaphore,
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Hook {
    /// The hook as configured; `None` if there is none.
    pub fn new(
        settings: &Settings,
        verifier: Arc<Verifier>,
        redis: Option<Redis>,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, BackendError> {
        if !settings.has_hook() {
            return Ok(None);
        }
        let first = settings.keys.first().ok_or(BackendError::NoKey)?;
        Ok(Some(Self(Arc::new(Shared {
            client: Client::new(settings)?,
            target: settings.connect.clone(),
            verifier,
            cache: settings.cache,
            cache_refusals: settings.cache_refusals,
            recheck: settings.recheck,
            secret: hmac::Key::new(hmac::HMAC_SHA256, &first.secret),
            memory: Mutex::default(),
            redis,
            breaker: Breaker::new(settings.timeout),
            turns: Semaphore::new(settings.parallel),
            places: Arc::new(Semaphore::new(WAITING)),
            metrics,
        }))))
    }

    /// Who `visitor` is: as was said lately, or as somebody is asking already, or by asking.
    ///
    /// The asking goes on if this future is dropped: others may wait for the same word.
    pub async fn ask(
        &self,
        visitor: &Visitor,
        connection: ConnectionId,
        channel: Option<String>,
    ) -> Word {
        let key = visitor.key(&self.0.secret);
        let count = |source| self.0.metrics.backend.hooks.of(source).increment(1);
        let mut awaited = {
            let mut memory = self.0.memory();
            match memory.look(&key, Instant::now()) {
                Found::Known(word) => {
                    count(HookSource::Cached);
                    return word;
                }
                Found::Asking(awaited) => {
                    count(HookSource::Shared);
                    awaited
                }
                Found::Nothing => {
                    let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
                        count(HookSource::Nowhere);
                        return Word::Unknown(
                            format!("{WAITING} others wait for the hook already").into(),
                        );
                    };
                    let (asker, awaited) = watch::channel(None);
                    memory.begin(key, awaited.clone());
                    let question = Question { key, visitor: visitor.clone(), connection, channel };
                    tokio::spawn(Arc::clone(&self.0).settle(question, place, asker));
                    awaited
                }
            }
        };
        let word = awaited.wait_for(Option::is_some).await;
        word.ok().and_then(|word| word.clone()).unwrap_or_else(|| Word::Unknown("no word".into()))
    }
}

/// One question, with all that it takes to ask it.
struct Question {
    key: Key,
    visitor: Visitor,
    connection: ConnectionId,
    channel: Option<String>,
}

impl Shared {
    /// Finds the word, and tells everybody who waits for it.
    async fn settle(
        self: Arc<Self>,
        question: Question,
        place: OwnedSemaphorePermit,
        asker: watch::Sender<Option<Word>>,
    ) {
        let (word, fresh) = match self.recall(&question.key).await {
            Some((word, age)) => {
                drop(place);
                let time = self.time(&word).saturating_sub(age);
                self.memory().settle(question.key, word.clone(), time, Instant::now());
                (word, None)
            }
            None => {
                let (word, note) = self.ask_in_turn(&question, place).await;
                let time = self.time(&word);
                self.memory().settle(question.key, word.clone(), time, Instant::now());
                (word, note.filter(|_| !time.is_zero()).map(|note| (note, time)))
            }
        };
        // Whoever asked may have gone.
        let _ = asker.send(Some(word));
        if let (Some((note, time)), Some(redis)) = (fresh, &self.redis) {
            note.leave(redis, &self.secret, &question.key, time).await;
        }
    }

    /// How long a word may be passed on.
    fn time(&self, word: &Word) -> Duration {
        match word {
            Word::Accepted(accepted) => self.cache.min(accepted.fresh()),
            Word::Unauthorized | Word::Forbidden => self.cache_refusals,
            Word::Unknown(_) => Duration::ZERO,
        }
    }

    /// What another instance was told, and its age; `None` = nothing that still counts.
    async fn recall(&self, key: &Key) -> Option<(Word, Duration)> {
        let note = Note::find(self.redis.as_ref()?, &self.secret, key).await?;
        let word = word::of(&note.answer()?, note.at, &self.verifier, self.recheck);
        let age = Duration::from_secs(now().saturating_sub(note.at));
        (age < self.time(&word)).then(|| {
            self.metrics.backend.hooks.of(HookSource::Recalled).increment(1);
            (word, age)
        })
    }

    async fn ask_in_turn(
        &self,
        question: &Question,
        place: OwnedSemaphorePermit,
    ) -> (Word, Option<Note>) {
        let metrics = &self.metrics.backend;
        metrics.hooks_waiting.increment(1.0);
        let turn = self.turns.acquire().await;
        metrics.hooks_waiting.decrement(1.0);
        drop(place);
        if !self.breaker.admits(Instant::now()) {
            metrics.hooks.of(HookSource::Nowhere).increment(1);
            let rest = "the back end has failed again and again; it is given a rest";
            return (Word::Unknown(rest.into()), None);
        }
        metrics.hooks.of(HookSource::Asked).increment(1);
        metrics.hooks_in_flight.increment(1.0);
        let told = self.question(question).await;
        metrics.hooks_in_flight.decrement(1.0);
        drop(turn);
        told
    }

    async fn question(&self, question: &Question) -> (Word, Option<Note>) {
        let began = Instant::now();
        let Question { visitor, connection, channel, .. } = question;
        let answer =
            ask(&self.client, &self.target, visitor, *connection, channel.as_deref()).await;
        let at = now();
        let word = match &answer {
            Ok(answer) => word::of(answer, at, &self.verifier, self.recheck),
            Err(error) => Word::Unknown(error.to_string().into()),
        };
        self.metrics.backend.hooked(outcome(&answer, &word), began.elapsed());
        self.note_outcome(&word);
        (word, answer.ok().and_then(|answer| Note::of(&answer, at)))
    }

    /// Tells the breaker and the log.
    fn note_outcome(&self, word: &Word) {
        if let Word::Unknown(cause) = word {
            tracing::warn!(%cause, "the connect hook did not say who somebody is");
        }
        if self.breaker.note(!matches!(word, Word::Unknown(_)), Instant::now()) {
            self.metrics.backend.breaks.increment(1);
            tracing::error!(
                "the connect hook has failed again and again: browsers without a token are told \
                 to come back until it answers"
            );
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// One signed request to the hook.
async fn ask(
    client: &Client,
    target: &str,
    visitor: &Visitor,
    connection: ConnectionId,
    channel: Option<&str>,
) -> Result<Answer, AskError> {
    let mut headers = visitor.headers().clone();
    let text = |text: &str| HeaderValue::from_str(text).expect("ids and channel names are ASCII");
    headers.insert("groupcast-connection", text(&connection.to_string()));
    if let Some(channel) = channel {
        headers.insert("groupcast-channel", text(channel));
    }
    let target = format!("{target}{}", visitor.query());
    client.ask(Ask { method: Method::GET, target: &target, headers, body: Bytes::new() }).await
}

fn outcome(answer: &Result<Answer, AskError>, word: &Word) -> BackendOutcome {
    match (answer, word) {
        (_, Word::Accepted(_)) => BackendOutcome::Accepted,
        (_, Word::Unauthorized | Word::Forbidden) => BackendOutcome::Refused,
        (Err(AskError::Timeout(_)), _) => BackendOutcome::Timeout,
        (Err(AskError::Connect { .. } | AskError::Broken { .. }), _) => BackendOutcome::Unreachable,
        _ => BackendOutcome::Failed,
    }
}
