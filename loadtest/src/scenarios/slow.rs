//! Browsers that stop reading: the others must not notice, memory must not grow past its bounds,
//! and whatever the stopped ones missed must be reported to them when they read again.

use std::thread;

use super::*;
use crate::account::Account;
use crate::proc::Memory;

/// Longest time in which the stopped browsers' bounds must be reached.
const FILL: Duration = Duration::from_secs(60);

/// Longest time in which they must have caught up after reading again.
const CATCH_UP: Duration = Duration::from_secs(15);

const ALL_READ: &str = "others' p99, all read, ms";
const SOME_STALL: &str = "others' p99, some do not, ms";
const GROWTH: &str = "resident growth per stalled, KiB";
const DROPPED: &str = "groupcast_dropped_total";

/// Some browsers never read: the latency of the others, memory, and the account of what was dropped
#[derive(Debug, Args)]
#[command(mut_arg("bytes", |arg| arg.default_value("1000")))]
#[command(mut_arg("rate", |arg| arg.default_value("50")))]
#[command(mut_arg("seconds", |arg| arg.default_value("15")))]
pub struct Slow {
    /// Browsers in the group.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    members: usize,
    /// How many of them stop reading.
    #[arg(long, default_value_t = 50, value_name = "N")]
    stalled: usize,
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    windows: Windows,
}

impl Slow {
    pub fn run(&self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        let Self { members, stalled, events: Events { bytes, rate }, windows } = self;
        if !(1..*members).contains(stalled) {
            let text = format!("--stalled {stalled}: from 1 to below the {members} members");
            return Err(io::Error::other(text));
        }
        limits::allow_sockets(*members)?;
        // A browser that doesn't read doesn't answer pings either; this is about its outbox.
        let setup = Setup { ping: "10m", ..bench.setup.clone() };
        let subject = Subject::gateway(&setup, self.events.bytes)?;
        let mut run = Run::start(subject, *members, Pace { rate: *rate, batch: 1 }, TOKEN_BYTES)?;
        run.publish(windows.warm_up(), "warming up")?;
        run.all_delivered()?;
        for round in 1..=windows.rounds {
            progress::step(&format!("slow: round {round} of {}", windows.rounds));
            self.measure(&mut run, report)?;
        }
        run.stop()?;
        let Windows { seconds, rounds } = windows;
        report.conditions(format!(
            "{stalled} of {members} members do not read, events of {bytes} B, {rate}/s, {rounds} \
             pairs of windows of {seconds} s; every loss reported, counted and alike"
        ));
        report.check("others' p99, shift", "gateway", "p99_shift")?;
        report.check(GROWTH, "gateway", "outbox_kib")
    }

    /// A window in which all read, one in which some do not, and their catching up.
    fn measure(&self, run: &mut Run, report: &mut Report) -> io::Result<()> {
        let before = Memory::of(run.subject.pid())?;
        let all_read = self.others(run, "all read")?;
        let earlier = run.clients.accounts()?;
        let dropped = run.subject.counter(DROPPED)?;
        run.clients.stall(self.stalled);
        self.fill(run)?;
        let some_stall = self.others(run, "some do not read")?;
        let full = Memory::of(run.subject.pid())?;
        run.clients.stall(0);
        let accounts = self.caught_up(run)?;
        let dropped = run.subject.counter(DROPPED)? - dropped;
        let since = |count: fn(&Account) -> u64| {
            let sum = |accounts: &[Account]| accounts.iter().map(count).sum::<u64>();
            (sum(&accounts) - sum(&earlier)) as f64
        };
        let reported = since(|account| account.reported_lost);
        if dropped != reported {
            let text = format!("the gateway counts {dropped} dropped, its gaps {reported}");
            return Err(io::Error::other(text));
        }
        let growth = full.resident.saturating_sub(before.resident) as f64;
        report.add(ALL_READ, "gateway", all_read);
        report.add(SOME_STALL, "gateway", some_stall);
        report.add("others' p99, shift", "gateway", some_stall / all_read - 1.0);
        report.add(GROWTH, "gateway", growth / self.stalled as f64);
        report.add("dropped (metric = gaps)", "gateway", dropped);
        report.add("gap frames", "gateway", since(|account| account.gaps));
        Ok(())
    }

    /// p99 over those that read throughout, milliseconds.
    fn others(&self, run: &mut Run, doing: &str) -> io::Result<f64> {
        self.readers_have_all(run)?;
        run.clients.sample(self.stalled..self.members);
        let sent = run.sent();
        run.publish(self.windows.time(), doing)?;
        let expected = (run.sent() - sent) as usize * (self.members - self.stalled);
        self.readers_have_all(run)?;
        let latencies = run.clients.latencies();
        if latencies.len() != expected {
            let text = format!("{} of {expected} deliveries to readers arrived", latencies.len());
            return Err(io::Error::other(text));
        }
        Ok(latencies.percentile(99.0))
    }

    /// Waits until those that read throughout have every publication.
    fn readers_have_all(&self, run: &Run) -> io::Result<()> {
        let complete = |account: &Account| account.delivered >= run.sent();
        accounted(run, self.stalled, complete).map(drop)
    }

    /// Publishes until each of the stalled drops one publication for each that comes.
    fn fill(&self, run: &mut Run) -> io::Result<()> {
        let until = Instant::now() + FILL;
        while Instant::now() < until {
            let (sent, dropped) = (run.sent(), run.subject.counter(DROPPED)?);
            run.publish(Duration::from_secs(1), "filling outboxes")?;
            let dropped = run.subject.counter(DROPPED)? - dropped;
            let arrived = (run.sent() - sent) * self.stalled as u64;
            if dropped >= 0.9 * arrived as f64 {
                return Ok(());
            }
        }
        Err(io::Error::other(format!("after {FILL:?} outboxes do not drop as much as arrives")))
    }

    /// Waits until every browser has, of every publication, the event or the report that it is
    /// lost: readers lost nothing, no event arrived twice, each stalled client had its gap.
    fn caught_up(&self, run: &Run) -> io::Result<Vec<Account>> {
        let complete = |a: &Account| a.delivered + a.reported_lost == run.sent();
        let accounts = accounted(run, 0, complete)?;
        let (stalled, readers) = accounts.split_at(self.stalled);
        let wrong = stalled.iter().find(|a| a.gaps == 0 || a.missing != a.reported_lost);
        let wrong = wrong.or(readers.iter().find(|a| a.missing != 0 || a.gaps != 0));
        match wrong.or(accounts.iter().find(|a| a.disordered != 0)) {
            Some(wrong) => Err(io::Error::other(format!("an account is wrong: {wrong:?}"))),
            None => Ok(accounts),
        }
    }
}

/// Waits until the accounts from index `first` on are complete; all accounts.
fn accounted(
    run: &Run,
    first: usize,
    complete: impl Fn(&Account) -> bool,
) -> io::Result<Vec<Account>> {
    let until = Instant::now() + CATCH_UP;
    loop {
        let accounts = run.clients.accounts()?;
        let open: Vec<_> = accounts[first..].iter().filter(|account| !complete(account)).collect();
        let Some(one) = open.first() else { return Ok(accounts) };
        if Instant::now() > until {
            return Err(io::Error::other(format!(
                "{} browsers can't account for the {} publications, such as {one:?}",
                open.len(),
                run.sent()
            )));
        }
        thread::sleep(Duration::from_millis(5));
    }
}
