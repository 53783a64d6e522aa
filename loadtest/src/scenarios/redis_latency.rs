//! From the back end's line to the browser's frame, by four ways in turn.

use super::*;
use crate::clients::Clients;
use crate::cluster::connect;
use crate::gateway::{Gateway, Layer, private_group};
use crate::publishers::{Publisher, Way};
use crate::redis::group_send::{ChannelLayer, Settings};

/// Publish to browser: memory, Redis, and an unchanged group_send, interleaved
#[derive(Debug, Args)]
#[command(mut_arg("seconds", |arg| arg.default_value("40")))]
pub struct RedisLatency {
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    windows: Windows,
}

/// A publisher, and the browser at the other end.
struct Path {
    name: &'static str,
    publisher: Publisher,
    clients: Clients,
    sent: u64,
}

impl RedisLatency {
    pub fn run(&self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        let memory = Gateway::start(&Setup { layer: Layer::Memory, ..bench.setup.clone() })?;
        let redis = redis::start()?;
        let django = Settings::default();
        let layer = Layer::Redis { url: redis.url(), channels: Some(django.capacity) };
        let setup = Setup { layer, ..bench.setup.clone() };
        // Browsers are on the second instance, posts go to the first; either may drain a mailbox.
        let (first, second) = (Gateway::start(&setup)?, Gateway::start(&setup)?);
        let layer = |seed| ChannelLayer::connect(redis.address(), django.clone(), seed);
        let bytes = self.events.bytes;
        let open = |name, way, receiver: &Gateway, number| {
            let publisher = Publisher::new(way, vec![private_group(number)], bytes);
            let clients = connect(receiver, number, 1)?;
            Ok::<_, io::Error>(Path { name, publisher, clients, sent: 0 })
        };
        let mut paths = [
            open("memory, POST", Way::Post(memory.api()?), &memory, 0)?,
            open("redis, POST", Way::Post(first.api()?), &second, 1)?,
            open("group_send", Way::GroupSend(layer(2)?), &second, 2)?,
            open("async_to_sync", Way::AsyncToSync(layer(3)?), &second, 3)?,
        ];
        self.window(&mut paths, self.windows.warm_up(), "warming up")?;
        let Windows { seconds, rounds } = self.windows;
        for round in 1..=rounds {
            let doing = format!("window {round} of {rounds}");
            self.window(&mut paths, self.windows.time(), &doing)?;
            for path in &paths {
                report.add_latencies(path.name, &path.clients.latencies());
            }
        }
        for Path { name, .. } in &paths[1..] {
            let pair = [*name, paths[0].name];
            report.ratio("latency p50, ratio to memory", name, "latency p50, ms", pair);
        }
        let rate = self.events.rate;
        report.conditions(format!(
            "events of {bytes} B to a group of one browser, {rate}/s by each way in turn, {rounds} \
             windows of {seconds} s; over Redis the browser is on another instance than the POST; \
             all delivered once and in order"
        ));
        drop(paths);
        [second, first, memory].into_iter().try_for_each(Gateway::stop)
    }

    /// Rounds for `time`; each way's turn within a round changes, and none waits for another's
    /// delivery.
    fn window(&self, paths: &mut [Path; 4], time: Duration, doing: &str) -> io::Result<()> {
        paths.iter().for_each(|path| path.clients.sample(0..1));
        let (start, count, rate) = (Instant::now(), paths.len() as u32, self.events.rate);
        let slot = Duration::from_secs_f64(1.0 / rate / f64::from(count));
        let rounds = (rate * time.as_secs_f64()).round() as u32;
        for round in 0..rounds {
            for turn in 0..count {
                let due = start + slot * (round * count + turn);
                progress::sleep_until(due);
                let path = &mut paths[((turn + round) % count) as usize];
                path.sent += 1;
                if path.publisher.publish(1, due)? > 0 {
                    return Err(io::Error::other(format!("{}: a full mailbox", path.name)));
                }
            }
            progress::show(&format!("redis-latency: {doing}, {round} of {rounds}"));
        }
        paths.iter().try_for_each(|Path { name, clients, sent, .. }| {
            let of_path = |error| io::Error::other(format!("{name}: {error}"));
            clients.check(&[*sent]).map_err(of_path)
        })
    }
}
