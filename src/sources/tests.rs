//! Draining and registration over a real Redis: step by step where the order of steps matters,
//! whole instances elsewhere.

mod chunks;
mod drainer;
mod elsewhere;
mod instances;
mod listening;
mod losses;
mod poison;
mod registrar;

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;
use crate::channels::{
    ChannelSettings, ChannelsMetrics, ChosenBy, CodecSettings, MailboxNames, Serializer,
};
use crate::event::{InstanceId, PublicationId, Target};
use crate::group::{GroupName, GroupPattern};
use crate::layer::tests::server::RedisServer;
use crate::layer::{
    History, Inbox, Incoming, Kind, Layer, Loss, PossibleLoss, RedisSettings, Retention,
};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// Far longer than anything here takes, so that only a hang reaches it.
const LONG: Duration = Duration::from_secs(20);

/// One instance's layer, and what arrives there.
struct TestInstance {
    layer: Layer,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    supervisor: Supervisor,
}

/// Messages in clear JSON without a random prefix, so that a test can write them by hand.
fn settings(boxes: u16) -> SourceSettings {
    let codec = CodecSettings {
        serializer: Serializer::Json,
        random_prefix: 0,
        ..CodecSettings::default()
    };
    let groups = vec![GroupPattern::parse("*").unwrap()];
    let channels = ChannelSettings {
        core: true,
        groups,
        boxes,
        codec,
        capacity: 100_000,
        ..Default::default()
    };
    SourceSettings { ingress: true, channels }
}

/// Retention of `pedido.*`: 1,000 publications for a minute.
async fn test_instance(server: &RedisServer, settings: &SourceSettings) -> TestInstance {
    test_instance_keeping(server, settings, 60).await
}

/// The same for so many seconds.
async fn test_instance_keeping(
    server: &RedisServer,
    settings: &SourceSettings,
    seconds: u64,
) -> TestInstance {
    let mut redis = RedisSettings::new(&server.url()).unwrap();
    settings.prepare(&mut redis);
    let kept = Retention { size: 1000, ttl: Duration::from_secs(seconds) };
    let history = History::new(vec![(GroupPattern::parse("pedido.*").unwrap(), kept)]);
    let metrics = Arc::new(Metrics::new());
    let whole = crate::layer::Settings { kind: Kind::Redis(redis), history };
    let id = PublicationId::random().0.to_ne_bytes();
    let instance = InstanceId::from_random(id[..5].try_into().unwrap());
    let (layer, inbox) = Layer::start(&whole, instance, Arc::clone(&metrics)).unwrap();
    until("the layer delivers", || layer.health().delivering).await;
    let supervisor = Supervisor::new(Shutdown::new());
    TestInstance { layer, inbox, metrics, supervisor }
}

impl TestInstance {
    /// Its parts that connect it to Django and drain its sources.
    fn parts(&self, settings: &SourceSettings) -> (DjangoLayer, SourceConnection) {
        let connection = SourceConnection::open(&self.layer, settings).unwrap().unwrap();
        let servers = connection.servers();
        let metrics = &Arc::new(ChannelsMetrics::new(&self.metrics));
        let supervisor = &self.supervisor;
        let channels = &settings.channels;
        let django = DjangoLayer::start(channels, servers, 64 * 1024, metrics, supervisor);
        (django, connection)
    }

    /// Waits until others count it as a listener of the groups that it enters from now on.
    async fn may_enter(&self, connection: &SourceConnection) {
        let terms = connection.servers().0.terms();
        until("its term begins", || *terms.borrow() > 0).await;
    }

    /// What arrives next: the type of an event, or a gap. On a slow machine the layer may
    /// resubscribe, which is not tested here.
    async fn next(&mut self) -> String {
        loop {
            let incoming = timeout(LONG, self.inbox.recv()).await.expect("something arrives");
            return match incoming.expect("the layer runs") {
                Incoming::Loss(Loss::All) => continue,
                Incoming::Publication(publication) => publication.event.kind().to_owned(),
                Incoming::Loss(Loss::Possible(PossibleLoss::Groups(groups))) => {
                    format!("gap in {groups:?}")
                }
                Incoming::Loss(Loss::Possible(PossibleLoss::ALL)) => "gap in all".to_owned(),
                Incoming::Loss(loss) => format!("{loss:?}"),
                other => panic!("not sent in this test: {other:?}"),
            };
        }
    }

    /// The next `count`.
    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            taken.push(self.next().await);
        }
        taken
    }

    /// The number of entries with this fate.
    fn count(&self, fate: &str) -> u64 {
        let name = format!("groupcast_source_entries_total{{fate=\"{fate}\"}} ");
        self.metric(&name)
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn groups(names: &[&str]) -> Vec<GroupName> {
    names.iter().map(|name| group(name)).collect()
}

/// `n1`, `n2`, … as events are called here.
fn numbers(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|n| format!("n{n}")).collect()
}

/// Writes messages into the mailbox `key`, as if by `group_send`: for each number one to each of
/// the lists of names, called `n<number>`.
fn write(
    server: &RedisServer,
    key: &str,
    range: std::ops::RangeInclusive<usize>,
    names: &[&[&str]],
) {
    const SCRIPT: &str = "for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
        for i = 3, #ARGV do
            redis.call('ZADD', KEYS[1], n, string.format(
                '{\"type\":\"n%d\",\"__asgi_channel__\":[%s]}', n, ARGV[i]))
        end
    end return 0";
    let lists = names.iter().map(|names| {
        let names = names.iter().map(|name| format!("{name:?}"));
        names.collect::<Vec<_>>().join(",")
    });
    let lists: Vec<String> = lists.collect();
    let (first, last) = (range.start().to_string(), range.end().to_string());
    let mut words = vec!["EVAL", SCRIPT, "1", key, &first, &last];
    words.extend(lists.iter().map(String::as_str));
    assert_eq!(server.ask(&words), ":0\r\n");
}

/// Polls a condition until it holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
