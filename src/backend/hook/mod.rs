//! The connect hook: the site authenticates visitors. Verdicts are cached, few requests run
//! concurrently, and the same request is never in flight twice.

mod breaker;
mod gate;
mod recently_closed;
mod request;
mod shared_cache;
mod turns;
mod verdict;
mod verdict_cache;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::client::OutgoingRequest;
use super::{BackendError, BackendResponse, Client, RequestError, Settings};
use crate::address::Address;
use crate::backend::metrics::{BackendMetrics, BackendOutcome, HookSource};
use crate::clock;
use crate::event::{ConnectionId, Stamp};
use crate::identity::Verifier;
use crate::layer::Redis;
use crate::telemetry::{GaugeGuard, Metrics};
use breaker::{Breaker, Outcome};
use gate::HookGate;
use recently_closed::RecentlyClosed;
use request::VerdictKey;
use shared_cache::CachedVerdict;
use turns::HookTurns;
use verdict::{AskedAt, VerdictRules};
use verdict_cache::{Lookup, VerdictCache};

pub use request::HookRequest;
pub use verdict::{HookAcceptance, HookVerdict};

/// Requests that may wait; further visitors are asked to reconnect. Half of the default limit of
/// handshakes, so that clients with tokens find room.
const WAITING: usize = 512;

/// Visitors whose verdict is being looked up in Redis, queued or requested: as many as the default
/// limit of handshakes, so that the queue, whose turns are fair, decides who is turned away.
const MAX_IN_FLIGHT: usize = 1024;

/// The connect hook. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Hook(Arc<HookState>);

#[derive(Debug)]
struct HookState {
    client: Client,
    target: String,
    verifier: Arc<Verifier>,
    cache: Duration,
    cache_refusals: Duration,
    recheck: Duration,
    bare_refusals: bool,
    /// Secret of the digests that identify cached verdicts.
    secret: hmac::Key,
    cached: Mutex<VerdictCache>,
    closed: Mutex<RecentlyClosed>,
    /// The Redis over which instances share verdicts, if the layer is Redis.
    redis: Option<Redis>,
    gate: HookGate,
    breaker: Breaker,
    turns: HookTurns,
    places: Arc<Semaphore>,
    metrics: BackendMetrics,
}

impl Hook {
    /// The hook as configured; `None` if there is none.
    pub fn new(
        settings: &Settings,
        verifier: Arc<Verifier>,
        redis: Option<Redis>,
        metrics: &Metrics,
    ) -> Result<Option<Self>, BackendError> {
        if !settings.has_hook() {
            return Ok(None);
        }
        let first = settings.keys.first().ok_or(BackendError::NoKey)?;
        Ok(Some(Self(Arc::new(HookState {
            client: Client::new(settings)?,
            target: settings.connect.clone(),
            verifier,
            cache: settings.cache,
            cache_refusals: settings.cache_refusals,
            recheck: settings.recheck,
            bare_refusals: settings.bare_refusals,
            secret: hmac::Key::new(hmac::HMAC_SHA256, &first.secret),
            cached: Mutex::default(),
            closed: Mutex::new(RecentlyClosed::new(settings.cache + settings.timeout)),
            redis,
            gate: HookGate::new(&settings.allowed_hosts, &settings.connect),
            breaker: Breaker::new(settings.timeout),
            turns: HookTurns::new(settings.parallel, WAITING),
            places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            metrics: BackendMetrics::new(metrics),
        }))))
    }

    /// The verdict on `request`: cached, in flight already, or by asking.
    ///
    /// The request continues if this future is dropped, since others may wait for the same verdict.
    pub async fn ask(
        &self,
        request: &HookRequest,
        connection: ConnectionId,
        channel: Option<String>,
    ) -> HookVerdict {
        let key = request.key(&self.0.secret);
        let count = |source| self.0.metrics.hooks.of(source).increment(1);
        if let Some(cause) = self.0.gate.refusal(request) {
            count(HookSource::Nowhere);
            return HookVerdict::Unknown(cause.into());
        }
        let mut pending = {
            let mut cached = self.0.cached.lock();
            match cached.get(&key, Instant::now()) {
                Lookup::Cached(verdict) if !self.0.is_outdated(&verdict) => {
                    count(HookSource::Cached);
                    return verdict;
                }
                Lookup::InFlight(pending) => {
                    count(HookSource::Shared);
                    pending
                }
                Lookup::Cached(_) | Lookup::Missing => {
                    let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
                        count(HookSource::Nowhere);
                        return too_many();
                    };
                    let (answered, pending) = watch::channel(None);
                    cached.begin(key, pending.clone(), Instant::now());
                    let job = HookJob { key, request: request.clone(), connection, channel };
                    tokio::spawn(Arc::clone(&self.0).settle(job, place, answered));
                    pending
                }
            }
        };
        let verdict = pending.wait_for(Option::is_some).await;
        verdict
            .ok()
            .and_then(|verdict| verdict.clone())
            .unwrap_or_else(|| HookVerdict::Unknown("no verdict".into()))
    }

    /// Records that this user's connections were closed: earlier verdicts on the user no longer
    /// count, neither this instance's nor those stored by others.
    pub fn user_closed(&self, sub: &str) {
        self.0.closed.lock().insert(sub, clock::unix_seconds(), Instant::now());
    }

    /// Records that any user may have been closed: no earlier verdict counts.
    pub fn everybody_closed(&self) {
        self.0.closed.lock().insert_everybody(clock::unix_seconds(), Instant::now());
    }
}

fn too_many() -> HookVerdict {
    HookVerdict::Unknown(format!("{WAITING} requests to the hook are waiting already").into())
}

/// Removes the entry of a request in flight when dropped, also if its task panics.
struct ForgetInFlight<'a>(&'a HookState, VerdictKey);

impl Drop for ForgetInFlight<'_> {
    fn drop(&mut self) {
        self.0.cached.lock().forget_in_flight(&self.1);
    }
}

/// A verdict that was just requested.
struct Fresh {
    verdict: HookVerdict,
    /// How long it may be reused.
    time: Duration,
    /// The answer to store for other instances.
    shared: Option<CachedVerdict>,
}

impl Fresh {
    fn uncached(verdict: HookVerdict) -> Self {
        Self { verdict, time: Duration::ZERO, shared: None }
    }
}

/// Decides whose failure an undecided verdict is. It is the site's if it cannot be reached, answers
/// 408, 429 or 5xx, redirects, or answers 200 without a verdict. Any other 4xx is about this
/// request.
fn blame(
    answer: &Result<BackendResponse, RequestError>,
    verdict: &HookVerdict,
    address: Option<Address>,
) -> Outcome {
    if !matches!(verdict, HookVerdict::Unknown(_)) {
        return Outcome::Answered;
    }
    match answer {
        Err(RequestError::TargetTooLong(_)) => Outcome::VisitorFailed { status: 0, address },
        Ok(answer)
            if answer.status.is_client_error()
                && answer.status != StatusCode::REQUEST_TIMEOUT
                && answer.status != StatusCode::TOO_MANY_REQUESTS =>
        {
            Outcome::VisitorFailed { status: answer.status.as_u16(), address }
        }
        _ => Outcome::SiteFailed,
    }
}

/// One request to the hook, with the key of its verdict.
struct HookJob {
    key: VerdictKey,
    request: HookRequest,
    connection: ConnectionId,
    channel: Option<String>,
}

impl HookState {
    fn rules(&self) -> VerdictRules<'_> {
        let (verifier, recheck) = (&*self.verifier, self.recheck);
        VerdictRules { verifier, recheck, bare_refusals: self.bare_refusals }
    }

    /// Whether the user's connections were closed after the verdict was asked for.
    fn is_outdated(&self, verdict: &HookVerdict) -> bool {
        let HookVerdict::Accepted(accepted) = verdict else { return false };
        self.closed.lock().closed_since(&accepted.identity.sub, accepted.asked_at())
    }

    /// Gets the verdict, caches it and passes it to all waiting connections.
    async fn settle(
        self: Arc<Self>,
        job: HookJob,
        place: OwnedSemaphorePermit,
        answered: watch::Sender<Option<HookVerdict>>,
    ) {
        let _forget = ForgetInFlight(&self, job.key);
        let (verdict, fresh) = match self.recall(&job.key).await {
            Some((verdict, age)) => {
                drop(place);
                let time = self.time(&verdict).saturating_sub(age);
                self.cached.lock().insert(job.key, verdict.clone(), time, Instant::now());
                (verdict, None)
            }
            None => {
                let began = Instant::now();
                let mut fresh = self.ask_in_turn(&job, place).await;
                if let HookVerdict::Accepted(accepted) = &fresh.verdict
                    && self.closed.lock().closed_after(&accepted.identity.sub, began)
                {
                    let closed = "the user's connections were closed while the hook was asked";
                    fresh = Fresh::uncached(HookVerdict::Unknown(closed.into()));
                }
                let Fresh { verdict, time, shared } = fresh;
                self.cached.lock().insert(job.key, verdict.clone(), time, Instant::now());
                (verdict, shared.filter(|_| !time.is_zero()).map(|shared| (shared, time)))
            }
        };
        // All waiting connections may have gone.
        let _ = answered.send(Some(verdict));
        if let (Some((note, time)), Some(redis)) = (fresh, &self.redis) {
            note.store(redis, &self.secret, &job.key, time).await;
        }
    }

    /// How long a verdict may be reused.
    fn time(&self, verdict: &HookVerdict) -> Duration {
        match verdict {
            HookVerdict::Accepted(accepted) => self.cache.min(accepted.fresh()),
            HookVerdict::Unauthorized | HookVerdict::Forbidden => self.cache_refusals,
            HookVerdict::Unknown(_) => Duration::ZERO,
        }
    }

    /// A verdict of another instance, and its age; `None` if there is none or it is too old.
    async fn recall(&self, key: &VerdictKey) -> Option<(HookVerdict, Duration)> {
        let note = CachedVerdict::load(self.redis.as_ref()?, &self.secret, key).await?;
        let asked = AskedAt { unix: note.at, stamp: note.stamp };
        let verdict = verdict::of(&note.answer()?, asked, &self.rules());
        let age = Duration::from_secs(clock::unix_seconds().saturating_sub(note.at));
        let valid = age < self.time(&verdict) && !self.is_outdated(&verdict);
        valid.then(|| {
            self.metrics.hooks.of(HookSource::Recalled).increment(1);
            (verdict, age)
        })
    }

    async fn ask_in_turn(&self, job: &HookJob, place: OwnedSemaphorePermit) -> Fresh {
        let metrics = &self.metrics;
        let waiting = GaugeGuard::new(&metrics.hooks_waiting);
        let turn = self.turns.take(job.request.address()).await;
        drop(waiting);
        drop(place);
        let Some(turn) = turn else {
            metrics.hooks.of(HookSource::Nowhere).increment(1);
            return Fresh::uncached(too_many());
        };
        if !self.breaker.admits(Instant::now()) {
            metrics.hooks.of(HookSource::Nowhere).increment(1);
            let open = "the connect hook failed repeatedly: circuit breaker open";
            return Fresh::uncached(HookVerdict::Unknown(open.into()));
        }
        metrics.hooks.of(HookSource::Asked).increment(1);
        let in_flight = GaugeGuard::new(&metrics.hooks_in_flight);
        let outcome = self.request(job).await;
        drop(in_flight);
        drop(turn);
        outcome
    }

    async fn request(&self, job: &HookJob) -> Fresh {
        let stamp = match &self.redis {
            Some(redis) => redis.stamp().await,
            None => Stamp::default(),
        };
        let (began, asked) = (Instant::now(), AskedAt { unix: clock::unix_seconds(), stamp });
        let HookJob { request, connection, channel, .. } = job;
        let answer =
            ask(&self.client, &self.target, request, *connection, channel.as_deref()).await;
        let verdict = match &answer {
            Ok(answer) => verdict::of(answer, asked, &self.rules()),
            Err(error) => HookVerdict::Unknown(error.to_string().into()),
        };
        self.metrics.hooked(outcome(&answer, &verdict), began.elapsed());
        let blame = blame(&answer, &verdict, request.address());
        self.record_outcome(&verdict, blame);
        let time = match blame {
            // Repeated immediately, the same request would be refused again.
            Outcome::VisitorFailed { .. } => self.cache_refusals,
            Outcome::Answered | Outcome::SiteFailed => self.time(&verdict),
        };
        let shared = answer.ok().filter(|_| blame == Outcome::Answered);
        Fresh { verdict, time, shared: shared.and_then(|answer| CachedVerdict::of(&answer, asked)) }
    }

    /// Informs the breaker and the log.
    fn record_outcome(&self, verdict: &HookVerdict, blame: Outcome) {
        if let HookVerdict::Unknown(cause) = verdict {
            tracing::warn!(%cause, "connect hook failed");
        }
        if self.breaker.record(blame, Instant::now()) {
            self.metrics.breaks.increment(1);
            tracing::error!(
                "circuit breaker open: the connect hook failed repeatedly; browsers without a \
                 token are told to come back until it answers"
            );
        }
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
    let (recheck, bare_refusals) = (settings.recheck, settings.bare_refusals);
    let rules = VerdictRules { verifier, recheck, bare_refusals };
    let answer = ask(&client, &settings.connect, request, connection, None).await;
    Ok(match answer {
        Ok(answer) => {
            let asked = AskedAt { unix: clock::unix_seconds(), stamp: Stamp::default() };
            verdict::of(&answer, asked, &rules)
        }
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
) -> Result<BackendResponse, RequestError> {
    let mut headers = request.headers().clone();
    let text = |text: &str| HeaderValue::from_str(text).expect("ids and channel names are ASCII");
    headers.insert("groupcast-connection", text(&connection.to_string()));
    if let Some(channel) = channel {
        headers.insert("groupcast-channel", text(channel));
    }
    let target = format!("{target}{}", request.query());
    client
        .send(OutgoingRequest { method: Method::GET, target: &target, headers, body: Bytes::new() })
        .await
}

fn outcome(
    answer: &Result<BackendResponse, RequestError>,
    verdict: &HookVerdict,
) -> BackendOutcome {
    match (answer, verdict) {
        (_, HookVerdict::Accepted(_)) => BackendOutcome::Accepted,
        (_, HookVerdict::Unauthorized | HookVerdict::Forbidden) => BackendOutcome::Refused,
        (Err(RequestError::Timeout(_)), _) => BackendOutcome::Timeout,
        (Err(RequestError::Connect { .. } | RequestError::Broken { .. }), _) => {
            BackendOutcome::Unreachable
        }
        _ => BackendOutcome::Failed,
    }
}
