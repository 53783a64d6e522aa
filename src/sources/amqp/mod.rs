//! Drains a queue of a broker: what is published to RabbitMQ reaches browsers.
//!
//! The queue is the buffer: a message is acknowledged once the layer has accepted it, and while
//! the layer is away nothing is. So each is published at least once, in the order of the queue;
//! with a `message_id`, exactly once, whichever instance takes it over from another.

mod decode;
mod numbers;
mod refusal;
mod session;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::amqp::{AmqpDeadLetters, AmqpError, AmqpReader, AmqpReading, jittered};
use crate::channels::ForwardQueue;
use crate::layer::Layer;
use crate::supervisor::Supervisor;
use crate::telemetry::{LogLimit, Metrics};
use decode::AmqpDecoder;
use numbers::AmqpNumbers;
pub(crate) use numbers::AmqpSnapshot;
use session::{AmqpWork, SessionEnd};
pub(crate) use settings::AmqpSettings;

/// Between two attempts while the broker is away: it serves again within two seconds.
const RETRY: Duration = Duration::from_millis(300);

/// After a refusal, as of a password, which costs the broker a line in its log.
const REFUSED_RETRY: Duration = Duration::from_secs(2);

/// How often the layer is looked at before the queue is consumed.
const LAYER_CHECK: Duration = Duration::from_millis(100);

/// The source of one instance. Clones share it; it ends with the last one.
#[derive(Debug, Clone)]
pub(crate) struct AmqpSource(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    numbers: Arc<AmqpNumbers>,
    stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl AmqpSource {
    /// Starts draining. Must be called within a runtime.
    pub(crate) fn start(
        settings: &AmqpSettings,
        layer: &Layer,
        forward_queue: Option<ForwardQueue>,
        metrics: &Metrics,
        supervisor: &Supervisor,
    ) -> Self {
        let numbers = Arc::new(AmqpNumbers::new(metrics));
        let (stop, stopped) = watch::channel(false);
        let topology = &settings.topology;
        let drain = AmqpDrain {
            reading: AmqpReading {
                address: settings.address.clone(),
                topology: topology.clone(),
                prefetch: settings.prefetch,
                max_event_bytes: settings.max_event_bytes,
                unacknowledged: Arc::clone(&numbers.unacknowledged),
            },
            work: AmqpWork {
                layer: layer.clone(),
                layer_timeout: settings.layer_timeout,
                decoder: AmqpDecoder::new(&topology.queue, settings.max_event_bytes),
                dead_letters: AmqpDeadLetters::new(
                    settings.address.clone(),
                    &topology.dead_letter,
                    &topology.queue,
                ),
                forward_queue,
                refused_log: LogLimit::default(),
            },
            numbers: Arc::clone(&numbers),
            stopped,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(supervisor.supervise("amqp source", drain.run()));
        Self(Arc::new(Shared { numbers, stop, _tasks: tasks }))
    }

    /// Stops draining: later messages are for other instances, or for the next start.
    pub(crate) fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Whether the queue is consumed here, if only to take over from the instance that is sent
    /// its messages.
    pub(crate) fn is_up(&self) -> bool {
        self.0.numbers.is_up()
    }

    /// Its numbers at present. Also updates the gauges.
    pub(crate) fn snapshot(&self) -> AmqpSnapshot {
        self.0.numbers.snapshot()
    }
}

/// The task of a source.
struct AmqpDrain {
    reading: AmqpReading,
    work: AmqpWork,
    numbers: Arc<AmqpNumbers>,
    stopped: watch::Receiver<bool>,
}

impl AmqpDrain {
    async fn run(mut self) {
        loop {
            let mut stopped = self.stopped.clone();
            let opened = tokio::select! {
                () = stop(&mut stopped) => None,
                opened = self.open() => Some(opened),
            };
            let end = match opened {
                None => SessionEnd::Stopped,
                Some(Ok(reader)) => self.session(reader).await,
                Some(Err(error)) => SessionEnd::Broker(error),
            };
            let pause = match end {
                SessionEnd::Stopped => return self.note(Some("stopped")),
                SessionEnd::Broker(error) => {
                    self.note(Some(&error.to_string()));
                    if matches!(error, AmqpError::Refused(_)) { REFUSED_RETRY } else { RETRY }
                }
                SessionEnd::Layer(error) => {
                    self.note(Some(&error.to_string()));
                    RETRY
                }
            };
            tokio::select! {
                () = stop(&mut stopped) => {}
                () = sleep(jittered(pause)) => {}
            }
        }
    }

    /// Waits until the layer delivers, then consumes: what an instance takes without being able to
    /// publish it, it keeps from others.
    async fn open(&self) -> Result<AmqpReader, AmqpError> {
        while !self.work.layer.health().delivering {
            sleep(LAYER_CHECK).await;
        }
        let (reader, differences) = AmqpReader::open(&self.reading).await?;
        for words in differences {
            tracing::warn!(words, "the broker has it otherwise, and it is used as it is");
        }
        Ok(reader)
    }

    async fn session(&mut self, mut reader: AmqpReader) -> SessionEnd {
        self.note(None);
        let end = self.work.drain(&mut reader, &self.numbers, &mut self.stopped).await;
        // A broker that failed would keep the farewell waiting.
        if !matches!(end, SessionEnd::Broker(_)) {
            reader.close().await;
        }
        self.numbers.holds_nothing();
        end
    }

    fn note(&self, failure: Option<&str>) {
        if !self.numbers.note(failure) {
            return;
        }
        let queue = self.reading.topology.queue.as_str();
        let AmqpSnapshot { delivered, redelivered, published, repeated, unacknowledged, .. } =
            self.numbers.snapshot();
        match failure {
            None => tracing::info!(queue, "the queue is consumed"),
            Some(why) => tracing::warn!(
                queue,
                why,
                delivered,
                redelivered,
                published,
                repeated,
                unacknowledged,
                "the queue is not consumed"
            ),
        }
    }
}

/// Waits until the source is stopped.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
