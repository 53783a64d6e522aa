//! From the back end's line to the browser's frame, by four ways in turn.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Surroundings, WARM_UP, ratios};
use crate::clients::Clients;
use crate::cluster::{self, connect};
use crate::event::{MIN_BYTES, Stamp};
use crate::gateway::{Gateway, Layer, Setup, private_group};
use crate::http::Api;
use crate::progress;
use crate::redis::Server;
use crate::redis::group_send::{ChannelLayer, Settings};
use crate::report::Report;
use crate::senders::{message, now, prefixes};
use crate::stats::Latencies;

/// How long nothing may arrive before what was published counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publish to browser: memory, Redis, and an unchanged group_send, interleaved
#[derive(Debug, Clone, Args)]
pub struct RedisLatency {
    /// Length of an event, bytes of JSON.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub bytes: usize,
    /// Rounds a second; each publishes once by every way, evenly spaced.
    #[arg(long, default_value_t = 25.0, value_name = "N")]
    pub rate: f64,
    /// Length of a window.
    #[arg(long, default_value_t = 40, value_name = "S")]
    pub seconds: u64,
    /// Windows.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub windows: usize,
}

/// A way in, and the browser at its end.
struct Way {
    name: &'static str,
    door: Door,
    clients: Clients,
    group: String,
    sent: u64,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

enum Door {
    Post(Api),
    GroupSend {
        layer: ChannelLayer,
        /// A connection for each call, as `async_to_sync` has it.
        anew: bool,
    },
}

impl RedisLatency {
    /// Small enough for every build: shows that every way arrives, measures nothing.
    pub fn quick() -> Self {
        Self { bytes: 200, rate: 25.0, seconds: 1, windows: 1 }
    }

    /// Runs it.
    pub fn run(&self, around: &Surroundings) -> io::Result<Report> {
        let memory = Gateway::start(&Setup { layer: Layer::Memory, ..around.setup.clone() })?;
        let redis = Server::start()?;
        let django = Settings::default();
        let layer = Layer::Redis { url: redis.url(), channels: Some(django.capacity) };
        let setup = Setup { layer, ..around.setup.clone() };
        // Browsers are on the second instance, posts go to the first; whoever drains a mailbox, drains it.
        let (first, second) = (Gateway::start(&setup)?, Gateway::start(&setup)?);
        let group_send = |seed: u64, anew: bool| {
            let random = prefixes(seed);
            let layer = ChannelLayer::connect(redis.address(), django.clone(), random)?;
            Ok::<_, io::Error>(Door::GroupSend { layer, anew })
        };
        let mut ways = [
            Way::open("memory, POST", Door::Post(memory.api()?), &memory, 0)?,
            Way::open("redis, POST", Door::Post(first.api()?), &second, 1)?,
            Way::open("group_send", group_send(2, false)?, &second, 2)?,
            Way::open("async_to_sync", group_send(3, true)?, &second, 3)?,
        ];
        let time = Duration::from_secs(self.seconds);
        self.window(&mut ways, WARM_UP.min(time), "warming up")?;
        ways.iter_mut().for_each(Way::forget);
        for window in 1..=self.windows {
            let doing = format!("window {window} of {}", self.windows);
            self.window(&mut ways, time, &doing)?;
        }
        progress::end();
        let report = self.report(&mut ways);
        drop(ways);
        [second, first, memory].into_iter().try_for_each(Gateway::stop)?;
        Ok(report)
    }

    /// Rounds for `time`; each way's turn within a round changes, and none waits for another's delivery.
    fn window(&self, ways: &mut [Way; 4], time: Duration, doing: &str) -> io::Result<()> {
        for way in ways.iter() {
            way.clients.sample(0..1)?;
        }
        let (start, bytes) = (Instant::now(), self.bytes.max(MIN_BYTES));
        let slot = Duration::from_secs_f64(1.0 / self.rate / ways.len() as f64);
        let rounds = (self.rate * time.as_secs_f64()).round() as u32;
        for round in 0..rounds {
            for turn in 0..ways.len() {
                let due = start + slot * (round * ways.len() as u32 + turn as u32);
                if let Some(wait) = due.checked_duration_since(Instant::now()) {
                    thread::sleep(wait);
                }
                let count = ways.len();
                ways[(turn + round as usize) % count].publish(due, bytes)?;
            }
            progress::show(&format!("redis-latency: {doing}, {round} of {rounds}"));
        }
        ways.iter_mut().try_for_each(Way::arrived)
    }

    fn report(&self, ways: &mut [Way; 4]) -> Report {
        let Self { bytes, rate, seconds, windows } = self;
        let mut report = Report::new(
            "redis-latency",
            format!(
                "events of {bytes} B to a group of one browser, {rate}/s by each way in turn, {windows} \
                 windows of {seconds} s; over Redis the browser is on another instance than the POST; \
                 all delivered once and in order"
            ),
        );
        let memory = ways[0].p50.clone();
        for way in ways.iter() {
            report.figure("latency p50, ms", way.name, way.p50.clone());
        }
        for way in ways.iter() {
            report.figure("latency p99, ms", way.name, way.p99.clone());
        }
        for way in &ways[1..] {
            report.figure("latency p50, ratio to memory", way.name, ratios(&way.p50, &memory));
        }
        report
    }
}

impl Way {
    /// Connects browser `number` to `receiver`.
    fn open(name: &'static str, door: Door, receiver: &Gateway, number: usize) -> io::Result<Self> {
        let (clients, group) = (connect(receiver, number, 1)?, private_group(number));
        Ok(Self { name, door, clients, group, sent: 0, p50: Vec::new(), p99: Vec::new() })
    }

    fn publish(&mut self, due: Instant, bytes: usize) -> io::Result<()> {
        self.sent += 1;
        let stamp = Stamp::new(self.sent, due);
        match &mut self.door {
            Door::Post(api) => {
                api.publish(&format!("/groups/{}/send", self.group), &stamp.json(bytes))
            }
            Door::GroupSend { layer, anew } => {
                if *anew {
                    layer.reconnect()?;
                }
                let sent = layer.group_send(&self.group, &message(stamp, bytes), now())?;
                match (sent.mailboxes, sent.full) {
                    (1, 0) => Ok(()),
                    _ => Err(io::Error::other(format!("{}: {sent:?}", self.group))),
                }
            }
        }
    }

    /// Waits until all that was published is there, and notes the window's latencies.
    fn arrived(&mut self) -> io::Result<()> {
        self.clients.wait_delivered(self.sent, PATIENCE);
        cluster::account(&self.clients, &[self.sent])
            .map_err(|e| io::Error::other(format!("{}: {e}", self.name)))?;
        let latencies = Latencies::new(self.clients.samples()?);
        self.p50.push(latencies.percentile(50.0));
        self.p99.push(latencies.percentile(99.0));
        Ok(())
    }

    fn forget(&mut self) {
        self.p50.clear();
        self.p99.clear();
    }
}
