//! Browsers that stop reading: the others must not notice, memory must not grow past its bounds, and
//! whatever the stopped ones missed must be told to them when they read again.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Surroundings, TOKEN_BYTES, WARM_UP, ratios};
use crate::account::Account;
use crate::event::MIN_BYTES;
use crate::gateway::Setup;
use crate::proc::Memory;
use crate::progress;
use crate::report::{Report, SlowBudget};
use crate::run::{Pace, Run};
use crate::stats::Latencies;
use crate::subject::Subject;

/// Longest time in which the stopped browsers' bounds must be reached.
const FILL: Duration = Duration::from_secs(60);

/// Longest time in which they must have caught up after reading again.
const CATCH_UP: Duration = Duration::from_secs(15);

/// Some browsers never read: the latency of the others, memory, and the account of what was dropped
#[derive(Debug, Clone, Args)]
pub struct Slow {
    /// Browsers in the group.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub members: usize,
    /// How many of them stop reading.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub stalled: usize,
    /// Length of an event, bytes of JSON.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub bytes: usize,
    /// Events a second.
    #[arg(long, default_value_t = 50.0, value_name = "N")]
    pub rate: f64,
    /// Length of each window.
    #[arg(long, default_value_t = 15, value_name = "S")]
    pub seconds: u64,
    /// Pairs of windows: everybody reads, some do not.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub pairs: usize,
}

#[derive(Default)]
struct Found {
    reading: Vec<f64>,
    stalled: Vec<f64>,
    growth: Vec<f64>,
    dropped: Vec<f64>,
    gaps: Vec<f64>,
}

impl Slow {
    /// Small enough for every build: shows that every loss is told.
    pub fn quick() -> Self {
        Self { members: 50, stalled: 5, bytes: 16_000, rate: 50.0, seconds: 1, pairs: 1 }
    }

    /// Runs it.
    pub fn run(&self, around: &Surroundings, budget: &SlowBudget) -> io::Result<Report> {
        limits(self)?;
        // A browser that doesn't read doesn't answer pings either; this is about its outbox.
        let setup = Setup { ping: "10m", ..around.setup.clone() };
        let subject = Subject::gateway(&setup, self.bytes.max(MIN_BYTES))?;
        let pace = Pace { rate: self.rate, batch: 1 };
        let mut run = Run::start(subject, self.members, pace, TOKEN_BYTES)?;
        run.publish(WARM_UP, "warming up")?;
        run.all_delivered()?;
        let mut found = Found::default();
        for pair in 1..=self.pairs {
            progress::step(&format!("slow: pair {pair} of {}", self.pairs));
            self.pair(&mut run, &mut found)?;
        }
        run.stop()?;
        progress::end();
        Ok(self.report(found, budget))
    }

    /// A window in which all read, one in which some do not, and their catching up.
    fn pair(&self, run: &mut Run, found: &mut Found) -> io::Result<()> {
        let before = Memory::of(run.subject.pid())?;
        found.reading.push(self.others(run, "all read")?);
        let earlier = run.clients.accounts()?.0;
        let dropped = run.subject.counter("groupcast_dropped_total")?;
        run.clients.stall(self.stalled)?;
        self.fill(run)?;
        found.stalled.push(self.others(run, "some do not read")?);
        let full = Memory::of(run.subject.pid())?;
        let growth = full.resident.saturating_sub(before.resident) as f64;
        found.growth.push(growth / self.stalled as f64);
        run.clients.resume()?;
        let accounts = self.caught_up(run)?;
        let dropped = run.subject.counter("groupcast_dropped_total")? - dropped;
        let told = |accounts: &[Account]| accounts.iter().map(|a| a.told_lost).sum::<u64>();
        let told = told(&accounts) - told(&earlier);
        if dropped != told as f64 {
            let text = format!("the gateway counts {dropped} dropped and told {told} in gaps");
            return Err(io::Error::other(text));
        }
        let gaps = |accounts: &[Account]| accounts.iter().map(|a| a.gaps).sum::<u64>();
        found.dropped.push(dropped);
        found.gaps.push((gaps(&accounts) - gaps(&earlier)) as f64);
        Ok(())
    }

    /// p99 over those that read throughout, milliseconds.
    fn others(&self, run: &mut Run, doing: &str) -> io::Result<f64> {
        self.readers_have_all(run)?;
        run.clients.sample(self.stalled..self.members)?;
        let sent = run.sent();
        run.publish(Duration::from_secs(self.seconds), doing)?;
        let expected = (run.sent() - sent) as usize * (self.members - self.stalled);
        self.readers_have_all(run)?;
        let latencies = Latencies::new(run.clients.samples()?);
        if latencies.len() != expected {
            let text = format!("{} of {expected} deliveries to readers arrived", latencies.len());
            return Err(io::Error::other(text));
        }
        Ok(latencies.percentile(99.0))
    }

    /// Waits until those that read throughout have every publication.
    fn readers_have_all(&self, run: &Run) -> io::Result<()> {
        let until = Instant::now() + CATCH_UP;
        loop {
            let accounts = run.clients.accounts()?.0;
            let behind = |account: &&Account| account.delivered < run.sent();
            let behind = accounts[self.stalled..].iter().filter(behind).count();
            if behind == 0 {
                return Ok(());
            }
            if Instant::now() > until {
                let text = format!("{behind} browsers that read do not have all publications");
                return Err(io::Error::other(text));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Publishes until each of the stalled drops one publication for each that comes.
    fn fill(&self, run: &mut Run) -> io::Result<()> {
        let until = Instant::now() + FILL;
        while Instant::now() < until {
            let (sent, dropped) = (run.sent(), run.subject.counter("groupcast_dropped_total")?);
            run.publish(Duration::from_secs(1), "filling outboxes")?;
            let dropped = run.subject.counter("groupcast_dropped_total")? - dropped;
            let arrived = (run.sent() - sent) * self.stalled as u64;
            if dropped >= 0.9 * arrived as f64 {
                return Ok(());
            }
        }
        Err(io::Error::other(format!("after {FILL:?} outboxes do not drop as much as arrives")))
    }

    /// Waits until every browser has, of every publication, the event or the word that it is lost.
    fn caught_up(&self, run: &Run) -> io::Result<Vec<Account>> {
        let until = Instant::now() + CATCH_UP;
        let complete = |a: &Account| a.delivered + a.told_lost == run.sent();
        loop {
            let (accounts, faults) = run.clients.accounts()?;
            if let Some(fault) = faults.first() {
                let text = format!("{} browsers lost their connection: {fault}", faults.len());
                return Err(io::Error::other(text));
            }
            if accounts.iter().all(complete) {
                return self.checked(accounts);
            }
            if Instant::now() > until {
                let open = accounts.iter().filter(|a| !complete(a)).count();
                let one = accounts.iter().find(|a| !complete(a));
                return Err(io::Error::other(format!(
                    "{open} browsers can't account for the {} publications, such as {one:?}",
                    run.sent()
                )));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Readers lost nothing, nobody got anything twice, and each of the stalled had its gap.
    fn checked(&self, accounts: Vec<Account>) -> io::Result<Vec<Account>> {
        let (stalled, readers) = accounts.split_at(self.stalled);
        let wrong = stalled.iter().find(|a| a.gaps == 0 || a.missing != a.told_lost);
        let wrong = wrong.or(readers.iter().find(|a| a.missing != 0 || a.gaps != 0));
        match wrong.or(accounts.iter().find(|a| a.disordered != 0)) {
            Some(wrong) => Err(io::Error::other(format!("an account is wrong: {wrong:?}"))),
            None => Ok(accounts),
        }
    }

    fn report(&self, found: Found, budget: &SlowBudget) -> Report {
        let Self { members, stalled, bytes, rate, seconds, pairs } = self;
        let mut report = Report::new(
            "slow",
            format!(
                "{stalled} of {members} members do not read, events of {bytes} B, {rate}/s, {pairs} \
                 pairs of windows of {seconds} s; every loss told, counted and alike"
            ),
        );
        let shift = ratios(&found.stalled, &found.reading).iter().map(|r| r - 1.0).collect();
        report.figure("others' p99, all read, ms", "gateway", found.reading);
        report.figure("others' p99, some do not, ms", "gateway", found.stalled);
        report.bar("others' p99, shift", "gateway", shift, budget.p99_shift);
        let growth = "resident growth per stalled, KiB";
        report.bar(growth, "gateway", found.growth, budget.outbox_kib);
        report.figure("dropped (metric = gaps told)", "gateway", found.dropped);
        report.figure("gap frames", "gateway", found.gaps);
        report
    }
}

fn limits(slow: &Slow) -> io::Result<()> {
    if slow.stalled == 0 || slow.stalled >= slow.members {
        let Slow { stalled, members, .. } = slow;
        let text = format!("--stalled {stalled}: from 1 to below the {members} members");
        return Err(io::Error::other(text));
    }
    crate::limits::allow_sockets(slow.members)
}
