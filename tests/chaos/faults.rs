//! The faults, each applied until it is over and every instance is ready again.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::traffic::{flood, subscribe_to_all};
use super::{ChaosRun, FAILPOINTS};
use crate::support::{Instance, SeededRandom};

/// The longest that reaching a failpoint may take.
const FAILPOINT_DEADLINE: Duration = Duration::from_secs(20);

/// How long Redis does not answer, refuses, or is flooded.
const REDIS_FAULT: Duration = Duration::from_secs(1);

/// A fault of an instance, of Redis, or of the way between them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Kill,
    Stop,
    /// It aborts at a failpoint.
    AbortAt(&'static str),
    /// It stops itself at a failpoint, and is continued later.
    StopAt(&'static str),
    /// All are killed; their clients and groups come back in one wave.
    KillAll,
    /// An instance loses its connections to Redis and gets no new one for a while.
    Partition,
    /// The same, of the server of Django's channels.
    PartitionFromChannels,
    /// The server of Django's channels loses everything (`FLUSHALL`).
    FlushChannels,
    /// Redis ends all subscriptions (`CLIENT KILL TYPE pubsub`).
    CutSubscriptions,
    /// An instance is stopped while Redis ends its subscription: what it reads later is older than
    /// the loss.
    CutWhileStopped,
    /// Redis answers nobody (`CLIENT PAUSE`).
    Pause,
    /// A script keeps Redis busy.
    Block,
    /// Each answer of Redis takes longer than usual.
    Distance,
    /// Redis has no memory for writes.
    Full,
    /// Redis has no replica that it may write without.
    NoReplicas,
    /// Primary and replica change places.
    Failover,
    /// A publisher sends to another group as fast as it can.
    Flood,
    /// The wall clock of an instance jumps by two minutes, ahead or back.
    ClockStep,
}

/// The faults without a failpoint.
pub(super) const FAULTS: [Fault; 14] = [
    Fault::Kill,
    Fault::Stop,
    Fault::KillAll,
    Fault::Partition,
    Fault::CutSubscriptions,
    Fault::CutWhileStopped,
    Fault::Pause,
    Fault::Block,
    Fault::Distance,
    Fault::Full,
    Fault::NoReplicas,
    Fault::Failover,
    Fault::Flood,
    Fault::ClockStep,
];

impl Fault {
    /// Any fault, each kind as often as the other.
    pub(super) fn any(random: &mut SeededRandom) -> Self {
        let at = *random.choose(&FAILPOINTS);
        let at_failpoints = [Self::AbortAt(at), Self::StopAt(at)];
        *random.choose(&[&FAULTS[..], &at_failpoints].concat())
    }
}

impl ChaosRun {
    /// Applies a fault and waits until all instances are ready again.
    pub(super) async fn apply(&mut self, fault: Fault) {
        let which = self.random.below(self.instances.len() as u64) as usize;
        println!("{:>4} s: {fault:?}, instance {which}", self.since.elapsed().as_secs());
        match fault {
            Fault::Kill | Fault::Stop | Fault::KillAll => self.of_a_process(fault, which).await,
            Fault::AbortAt(place) => {
                self.restart_with_failpoint(which, place, "abort").await;
                self.wait_for_failpoint(which, place, Instance::has_ended).await;
                self.restart(which, "").await;
            }
            Fault::StopAt(place) => {
                self.restart_with_failpoint(which, place, "stop").await;
                self.wait_for_failpoint(which, place, |instance| instance.is_stopped()).await;
                self.resume(which).await;
            }
            Fault::Partition => {
                self.paths[which].cut();
                tokio::time::sleep(self.stop_time).await;
                self.paths[which].lead_to(self.redis.primary().address());
            }
            Fault::PartitionFromChannels => {
                let (server, paths) = self.channels.as_ref().expect("there is such a server");
                paths[which].cut();
                tokio::time::sleep(self.stop_time).await;
                paths[which].lead_to(server.address());
            }
            Fault::FlushChannels => {
                let (server, _) = self.channels.as_ref().expect("there is such a server");
                assert_eq!(server.ask(&["FLUSHALL"]), "+OK\r\n");
            }
            Fault::Flood => {
                let (accepted, refused) = flood(*self.instances[which], REDIS_FAULT).await;
                println!("        {accepted} accepted, {refused} refused");
            }
            Fault::ClockStep => {
                let step = if self.random.below(2) == 0 { "+120" } else { "-120" };
                self.instances[which].set_clock(step);
                tokio::time::sleep(self.stop_time).await;
                self.instances[which].set_clock("+0");
            }
            _ => self.of_redis(fault, which).await,
        }
        for instance in &self.instances {
            instance.ready().await;
        }
        self.clients.check();
    }

    async fn of_a_process(&mut self, fault: Fault, which: usize) {
        let pause = Duration::from_millis(self.random.below(1000));
        match fault {
            Fault::Stop => {
                self.instances[which].signal(Signal::SIGSTOP);
                self.resume(which).await;
            }
            Fault::KillAll => {
                self.instances.iter_mut().for_each(Instance::kill);
                tokio::time::sleep(pause).await;
                for instance in 0..self.instances.len() {
                    self.restart(instance, "").await;
                }
            }
            _ => {
                self.instances[which].kill();
                tokio::time::sleep(pause).await;
                self.restart(which, "").await;
            }
        }
    }

    async fn of_redis(&mut self, fault: Fault, which: usize) {
        match fault {
            Fault::CutSubscriptions => self.cut_subscriptions(),
            Fault::CutWhileStopped => {
                self.instances[which].signal(Signal::SIGSTOP);
                tokio::time::sleep(self.stop_time / 4).await;
                self.cut_subscriptions();
                self.resume(which).await;
            }
            Fault::Pause => {
                let length = REDIS_FAULT.as_millis().to_string();
                assert_eq!(self.redis.ask(&["CLIENT", "PAUSE", &length, "ALL"]), "+OK\r\n");
                tokio::time::sleep(REDIS_FAULT).await;
            }
            Fault::Block => {
                let redis = std::sync::Arc::clone(&self.redis);
                let busy = format!(
                    "local function now() local t = redis.call('TIME') \
                     return t[1] * 1000 + t[2] / 1000 end \
                     local until_then = now() + {} while now() < until_then do end return 1",
                    REDIS_FAULT.as_millis()
                );
                let answer =
                    tokio::task::spawn_blocking(move || redis.ask(&["EVAL", &busy, "0"])).await;
                assert_eq!(answer.unwrap(), ":1\r\n");
            }
            Fault::Distance => {
                self.paths[which].delay(Duration::from_millis(50));
                tokio::time::sleep(self.stop_time).await;
                self.paths[which].delay(Duration::ZERO);
            }
            Fault::Full => self.redis.refuse("maxmemory", "1", REDIS_FAULT).await,
            Fault::NoReplicas => {
                self.redis.refuse("min-replicas-to-write", "2", REDIS_FAULT).await;
            }
            Fault::Failover => self.redis.fail_over(&self.paths).await,
            _ => unreachable!("{fault:?} is none of Redis"),
        }
    }

    fn cut_subscriptions(&self) {
        let killed = self.redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert!(killed.starts_with(':'), "{killed}");
        subscribe_to_all(self.redis.primary().address());
    }

    async fn restart(&mut self, which: usize, failpoint: &str) {
        self.instances[which].start_to_fail(failpoint).await;
        self.clients.set_address(which, self.instances[which].public);
    }

    /// Leaves it stopped for the stop time, then continues it.
    async fn resume(&mut self, which: usize) {
        tokio::time::sleep(self.stop_time).await;
        self.instances[which].signal(Signal::SIGCONT);
    }

    async fn restart_with_failpoint(&mut self, which: usize, place: &str, action: &str) {
        // Points passed with every event fail at one of the first 20 passes, others sooner.
        let often =
            matches!(place, "look-answered" | "before-commit" | "before-remove" | "after-commit");
        let nth = if often { 1 + self.random.below(20) } else { 1 + self.random.below(2) };
        self.instances[which].kill();
        self.restart(which, &format!("{place}:{action}:{nth}")).await;
    }

    /// Waits until the instance has failed at the failpoint.
    async fn wait_for_failpoint(
        &mut self,
        which: usize,
        place: &str,
        happened: fn(&mut Instance) -> bool,
    ) {
        let deadline = std::time::Instant::now() + FAILPOINT_DEADLINE;
        while !happened(&mut self.instances[which]) {
            assert!(std::time::Instant::now() < deadline, "{place} was never reached");
            self.clients.check();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
