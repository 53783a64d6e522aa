//! One suite for both layers, and outages of Redis.

mod commands;
mod connections;
mod forged;
mod lag;
mod once;
mod outage;
#[path = "../../../tests/support/redis.rs"]
pub(crate) mod server;
mod signed;
mod suite;
mod waves;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::*;
use crate::event::{ConnectionId, Event, Except, PublicationId, Target};
use crate::group::GroupPattern;
use server::RedisServer;

/// Far longer than anything here takes, so that only a hang reaches it.
const LONG: Duration = Duration::from_secs(20);

/// What may have arrived and not been looked at.
const ARRIVED: usize = 100_000;

/// One instance: its layer and what arrives there.
struct Instance {
    id: InstanceId,
    layer: Layer,
    inbox: mpsc::Receiver<Incoming>,
}

/// What several instances share.
enum LayerKind {
    Memory(Arc<Broker>),
    Redis(RedisServer),
}

impl LayerKind {
    fn memory() -> Self {
        Self::Memory(Arc::new(Broker::with_history(history())))
    }

    async fn instance(&self) -> Instance {
        match self {
            Self::Memory(broker) => {
                let (memory, inbox) = broker.attach();
                Instance::new(InstanceId::random(), Layer::Memory(memory), inbox)
            }
            Self::Redis(server) => over(server, |_| {}).await,
        }
    }
}

/// An instance over `server`, once it delivers.
async fn over(server: &RedisServer, change: impl FnOnce(&mut RedisSettings)) -> Instance {
    let instance = over_unready(server, change);
    instance.delivering().await;
    instance
}

fn over_unready(server: &RedisServer, change: impl FnOnce(&mut RedisSettings)) -> Instance {
    let (id, layer, inbox) = start(server, change);
    Instance::new(id, layer, inbox)
}

/// A layer over `server` whose inbox nobody reads yet.
fn start(
    server: &RedisServer,
    change: impl FnOnce(&mut RedisSettings),
) -> (InstanceId, Layer, Inbox) {
    let mut settings = RedisSettings::new(&server.url()).unwrap();
    change(&mut settings);
    let id = InstanceId::random();
    let settings = Settings { kind: Kind::Redis(settings), history: history() };
    let (layer, inbox) = Layer::start(&settings, id, Arc::new(Metrics::new())).unwrap();
    (id, layer, inbox)
}

/// Retention of `pedido.*`: five publications for a minute; of `breve.*`: 50 ms.
fn history() -> History {
    let kept = |pattern, size, ttl| {
        (GroupPattern::parse(pattern).unwrap(), Retention { size, ttl: Duration::from_millis(ttl) })
    };
    History::new(vec![kept("pedido.*", 5, 60_000), kept("breve.*", 5, 50)])
}

impl Instance {
    fn new(id: InstanceId, layer: Layer, mut taken: Inbox) -> Self {
        let (sender, inbox) = mpsc::channel(ARRIVED);
        // As the coordinator does: what is taken late makes publishers wait, or be refused.
        tokio::spawn(async move {
            while let Some(incoming) = taken.recv().await
                && sender.send(incoming).await.is_ok()
            {}
        });
        Self { id, layer, inbox }
    }

    async fn delivering(&self) {
        until("the layer delivers", || self.layer.health().delivering).await;
    }

    async fn subscribe(&self, names: &[&str]) {
        let groups: Vec<_> = names.iter().map(|name| group(name)).collect();
        self.layer.subscribe(&groups).await.unwrap();
    }

    async fn send(&self, name: &str, text: &str) {
        self.layer.publish(to(Target::Group(group(name)), text)).await.unwrap();
    }

    async fn next(&mut self) -> Incoming {
        timeout(LONG, self.inbox.recv()).await.expect("something arrives").expect("it is not over")
    }

    async fn next_publication(&mut self) -> Arc<Publication> {
        match self.next().await {
            Incoming::Publication(publication) => publication,
            other => panic!("a publication was expected: {other:?}"),
        }
    }

    /// The next event's JSON.
    async fn next_text(&mut self) -> String {
        text_of(&*self.next_publication().await)
    }

    /// The same behind any number of gaps: on a slow machine a connection may be lost twice.
    async fn next_text_after_gaps(&mut self) -> String {
        loop {
            match self.next().await {
                Incoming::Loss(_) => {}
                Incoming::Publication(publication) => return text_of(&publication),
                other => panic!("a publication was expected: {other:?}"),
            }
        }
    }

    /// That nothing has arrived for this instance: a message sent now by way of its own channel is
    /// the next that does.
    async fn has_nothing(&mut self) {
        let own = ConnectionId { instance: self.id, serial: 1 };
        self.layer.publish(to(Target::Connection(own), "marca")).await.unwrap();
        assert_eq!(self.next_text().await, event_text("marca"));
    }
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn event_text(text: &str) -> String {
    format!(r#"{{"type":"{text}"}}"#)
}

fn text_of(publication: &Publication) -> String {
    String::from_utf8(publication.event.json().to_vec()).unwrap()
}

fn to(target: Target, text: &str) -> Publication {
    Publication {
        id: PublicationId::random(),
        target,
        event: Event::parse(Bytes::from(event_text(text))).unwrap(),
        except: Except::default(),
        accepted: std::time::Instant::now(),
        deadline: None,
        position: None,
    }
}

/// Waits for a condition, looking often.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
