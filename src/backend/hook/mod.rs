//! The connect hook: the back end is asked who somebody is, seldom, by few at a time, and never
//! twice at once about the same.

mod breaker;
mod memory;
mod request;
mod shared;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::client::Ask;
use super::{Answer, AskError, BackendError, Client, Settings};
use crate::clock;
use crate::event::ConnectionId;
use crate::identity::Verifier;
use crate::layer::Redis;
use crate::telemetry::{BackendOutcome, HookSource, Metrics};
use breaker::Breaker;
use memory::{Found, Memory};
use request::Key;
use shared::CachedVerdict;

pub use request::HookRequest;
pub(super) use request::path_header;
pub use verdict::{Accepted, HookVerdict};

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

    /// Who `request` is: as was said lately, or as somebody is asking already, or by asking.
    ///
    /// The asking goes on if this future is dropped: others may wait for the same verdict.
    pub async fn ask(
        &self,
        request: &HookRequest,
        connection: ConnectionId,
        channel: Option<String>,
    ) -> HookVerdict {
        let key = request.key(&self.0.secret);
        let count = |source| self.0.metrics.backend.hooks.of(source).increment(1);
        let mut awaited = {
            let mut memory = self.0.memory();
            match memory.look(&key, Instant::now()) {
                Found::Known(verdict) => {
                    count(HookSource::Cached);
                    return verdict;
                }
                Found::Asking(awaited) => {
                    count(HookSource::Shared);
                    awaited
                }
                Found::Nothing => {
                    let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
                        count(HookSource::Nowhere);
                        return HookVerdict::Unknown(
                            format!("{WAITING} others wait for the hook already").into(),
                        );
                    };
                    let (asker, awaited) = watch::channel(None);
                    memory.begin(key, awaited.clone(), Instant::now());
                    let question = Question { key, request: request.clone(), connection, channel };
                    tokio::spawn(Arc::clone(&self.0).settle(question, place, asker));
                    awaited
                }
            }
        };
        let verdict = awaited.wait_for(Option::is_some).await;
        verdict
            .ok()
            .and_then(|verdict| verdict.clone())
            .unwrap_or_else(|| HookVerdict::Unknown("no verdict".into()))
    }
}

/// One question, with all that it takes to ask it.
struct Question {
    key: Key,
    request: HookRequest,
    connection: ConnectionId,
    channel: Option<String>,
}

impl Shared {
    /// Finds the verdict, and tells everybody who waits for it.
    async fn settle(
        self: Arc<Self>,
        question: Question,
        place: OwnedSemaphorePermit,
        asker: watch::Sender<Option<HookVerdict>>,
    ) {
        let (verdict, fresh) = match self.recall(&question.key).await {
            Some((verdict, age)) => {
                drop(place);
                let time = self.time(&verdict).saturating_sub(age);
                self.memory().settle(question.key, verdict.clone(), time, Instant::now());
                (verdict, None)
            }
            None => {
                let (verdict, note) = self.ask_in_turn(&question, place).await;
                let time = self.time(&verdict);
                self.memory().settle(question.key, verdict.clone(), time, Instant::now());
                (verdict, note.filter(|_| !time.is_zero()).map(|note| (note, time)))
            }
        };
        // Whoever asked may have gone.
        let _ = asker.send(Some(verdict));
        if let (Some((note, time)), Some(redis)) = (fresh, &self.redis) {
            note.leave(redis, &self.secret, &question.key, time).await;
        }
    }

    /// How long a verdict may be passed on.
    fn time(&self, verdict: &HookVerdict) -> Duration {
        match verdict {
            HookVerdict::Accepted(accepted) => self.cache.min(accepted.fresh()),
            HookVerdict::Unauthorized | HookVerdict::Forbidden => self.cache_refusals,
            HookVerdict::Unknown(_) => Duration::ZERO,
        }
    }

    /// What another instance was told, and its age; `None` = nothing that still counts.
    async fn recall(&self, key: &Key) -> Option<(HookVerdict, Duration)> {
        let note = CachedVerdict::find(self.redis.as_ref()?, &self.secret, key).await?;
        let verdict = verdict::of(&note.answer()?, note.at, &self.verifier, self.recheck);
        let age = Duration::from_secs(clock::unix_seconds().saturating_sub(note.at));
        (age < self.time(&verdict)).then(|| {
            self.metrics.backend.hooks.of(HookSource::Recalled).increment(1);
            (verdict, age)
        })
    }

    async fn ask_in_turn(
        &self,
        question: &Question,
        place: OwnedSemaphorePermit,
    ) -> (HookVerdict, Option<CachedVerdict>) {
        let metrics = &self.metrics.backend;
        metrics.hooks_waiting.increment(1.0);
        let turn = self.turns.acquire().await;
        metrics.hooks_waiting.decrement(1.0);
        drop(place);
        if !self.breaker.admits(Instant::now()) {
            metrics.hooks.of(HookSource::Nowhere).increment(1);
            let rest = "the back end has failed again and again; it is given a rest";
            return (HookVerdict::Unknown(rest.into()), None);
        }
        metrics.hooks.of(HookSource::Asked).increment(1);
        metrics.hooks_in_flight.increment(1.0);
        let told = self.question(question).await;
        metrics.hooks_in_flight.decrement(1.0);
        drop(turn);
        told
    }

    async fn question(&self, question: &Question) -> (HookVerdict, Option<CachedVerdict>) {
        let began = Instant::now();
        let Question { request, connection, channel, .. } = question;
        let answer =
            ask(&self.client, &self.target, request, *connection, channel.as_deref()).await;
        let at = clock::unix_seconds();
        let verdict = match &answer {
            Ok(answer) => verdict::of(answer, at, &self.verifier, self.recheck),
            Err(error) => HookVerdict::Unknown(error.to_string().into()),
        };
        self.metrics.backend.hooked(outcome(&answer, &verdict), began.elapsed());
        self.note_outcome(&verdict);
        (verdict, answer.ok().and_then(|answer| CachedVerdict::of(&answer, at)))
    }

    /// Tells the breaker and the log.
    fn note_outcome(&self, verdict: &HookVerdict) {
        if let HookVerdict::Unknown(cause) = verdict {
            tracing::warn!(%cause, "the connect hook did not say who somebody is");
        }
        if self.breaker.note(!matches!(verdict, HookVerdict::Unknown(_)), Instant::now()) {
            self.metrics.backend.breaks.increment(1);
            tracing::error!(
                "the connect hook has failed again and again: browsers without a token are told \
                 to come back until it answers"
            );
        }
    }

    fn memory(&self) -> parking_lot::MutexGuard<'_, Memory> {
        self.memory.lock()
    }
}

/// Asks the hook once, without cache, breaker or repetition.
pub async fn ask_hook_once(
    settings: &Settings,
    verifier: &Verifier,
    request: &HookRequest,
) -> Result<HookVerdict, BackendError> {
    let client = Client::new(settings)?;
    let connection: ConnectionId = "aaaaaaaa-1".parse().expect("a legal connection id");
    let answer = ask(&client, &settings.connect, request, connection, None).await;
    Ok(match answer {
        Ok(answer) => verdict::of(&answer, clock::unix_seconds(), verifier, settings.recheck),
        Err(error) => HookVerdict::Unknown(error.to_string().into()),
    })
}

/// One signed request to the hook.
async fn ask(
    client: &Client,
    target: &str,
    request: &HookRequest,
    connection: ConnectionId,
    channel: Option<&str>,
) -> Result<Answer, AskError> {
    let mut headers = request.headers().clone();
    let text = |text: &str| HeaderValue::from_str(text).expect("ids and channel names are ASCII");
    headers.insert("groupcast-connection", text(&connection.to_string()));
    if let Some(channel) = channel {
        headers.insert("groupcast-channel", text(channel));
    }
    let target = format!("{target}{}", request.query());
    client.ask(Ask { method: Method::GET, target: &target, headers, body: Bytes::new() }).await
}

fn outcome(answer: &Result<Answer, AskError>, verdict: &HookVerdict) -> BackendOutcome {
    match (answer, verdict) {
        (_, HookVerdict::Accepted(_)) => BackendOutcome::Accepted,
        (_, HookVerdict::Unauthorized | HookVerdict::Forbidden) => BackendOutcome::Refused,
        (Err(AskError::Timeout(_)), _) => BackendOutcome::Timeout,
        (Err(AskError::Connect { .. } | AskError::Broken { .. }), _) => BackendOutcome::Unreachable,
        _ => BackendOutcome::Failed,
    }
}
