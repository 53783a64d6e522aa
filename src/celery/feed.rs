//! Where the events of workers come from: kombu's channels on a Redis broker, or Celery's exchange
//! on one that speaks AMQP, as RabbitMQ.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

use super::settings::WorkerEvents;
use super::state::{StateError, guarded};
use super::worker_event;
use crate::amqp::{self, AmqpFeed, AmqpMessage, Subscription};
use crate::layer::{KeyWatch, LayerError, WatchEvent, WatchedKeys};

/// Between two attempts while a Redis broker is away.
const RETRY: Duration = Duration::from_millis(500);

/// Messages that RabbitMQ keeps for an instance that does not keep up, and for how long,
/// milliseconds; Celery's own `event_queue_ttl` is the same.
const MAX_MESSAGES: u32 = 10_000;
const MAX_AGE: u32 = 5_000;

/// One thing that happened to the feed.
pub(super) enum FeedEvent {
    /// The JSON of some events, or why they cannot be read.
    Body(Result<Vec<u8>, StateError>),
    /// It has begun: the broker answers.
    Begun,
    /// The broker does not answer; it is tried again.
    Away(String),
    /// Events may have been missed.
    Interrupted,
}

/// A connection, which only goes on while it is polled, and what it delivers.
pub(super) struct ExchangeFeed {
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
    messages: AmqpFeed,
    /// Whether it is connected, so that what ends is told as an interruption first.
    is_up: bool,
    /// Why it is not, still to be told.
    failure: Option<String>,
}

/// The events of all workers.
pub(super) enum EventFeed {
    Redis(RedisFeed),
    Amqp(ExchangeFeed),
}

impl EventFeed {
    /// Connects; must be called within a runtime.
    pub(super) fn open(source: &WorkerEvents) -> Result<Self, LayerError> {
        match source {
            WorkerEvents::Redis { server, channels } => {
                let (redis, messages) = KeyWatch::open(server)?;
                let following = Some(subscribe(redis.clone(), channels.clone(), Duration::ZERO));
                let channels = channels.clone();
                Ok(Self::Redis(RedisFeed { redis, messages, channels, following }))
            }
            WorkerEvents::Amqp { broker, exchange } => {
                let subscription = Subscription {
                    exchange: exchange.clone(),
                    routing_keys: &["task.#", "worker.#"],
                    max_messages: MAX_MESSAGES,
                    max_age: MAX_AGE,
                };
                let (messages, run) = amqp::follow(broker.clone(), subscription);
                let run = Box::pin(run);
                Ok(Self::Amqp(ExchangeFeed { run, messages, is_up: false, failure: None }))
            }
        }
    }

    /// Waits for the next event. Nothing is lost if the wait is given up.
    pub(super) async fn next(&mut self) -> FeedEvent {
        match self {
            Self::Redis(feed) => feed.next().await,
            Self::Amqp(feed) => feed.next().await,
        }
    }
}

impl ExchangeFeed {
    async fn next(&mut self) -> FeedEvent {
        if let Some(failure) = self.failure.take() {
            return FeedEvent::Away(failure);
        }
        let message = tokio::select! {
            biased;
            message = self.messages.recv() => message,
            () = self.run.as_mut() => None,
        };
        match message {
            Some(AmqpMessage::Body(body)) => FeedEvent::Body(Ok(body)),
            Some(AmqpMessage::Begun) => {
                self.is_up = true;
                FeedEvent::Begun
            }
            Some(AmqpMessage::Away(error)) if std::mem::take(&mut self.is_up) => {
                self.failure = Some(error.to_string());
                FeedEvent::Interrupted
            }
            Some(AmqpMessage::Away(error)) => FeedEvent::Away(error.to_string()),
            // The connection is renewed until the feed is dropped.
            None => std::future::pending().await,
        }
    }
}

type Subscribing = Pin<Box<dyn Future<Output = Result<(), LayerError>> + Send>>;

/// Channels of a Redis.
pub(super) struct RedisFeed {
    redis: KeyWatch,
    messages: WatchedKeys,
    channels: String,
    following: Option<Subscribing>,
}

impl RedisFeed {
    async fn next(&mut self) -> FeedEvent {
        let is_following = self.following.is_some();
        let following = async {
            match &mut self.following {
                Some(following) => following.await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = following, if is_following => outcome,
            event = self.messages.next() => return match event {
                WatchEvent::Written(_, message) => {
                    FeedEvent::Body(guarded(|| worker_event::body(&message)))
                }
                WatchEvent::Interrupted => {
                    self.following.get_or_insert_with(|| {
                        subscribe(self.redis.clone(), self.channels.clone(), Duration::ZERO)
                    });
                    FeedEvent::Interrupted
                }
            },
        };
        let again = || subscribe(self.redis.clone(), self.channels.clone(), RETRY);
        self.following = outcome.is_err().then(again);
        outcome.map_or_else(|error| FeedEvent::Away(error.to_string()), |()| FeedEvent::Begun)
    }
}

/// Subscribes, after a while. It goes on beside everything else, and is repeated until it succeeds.
fn subscribe(redis: KeyWatch, pattern: String, after: Duration) -> Subscribing {
    async move {
        sleep(after).await;
        redis.follow(&pattern).await
    }
    .boxed()
}
