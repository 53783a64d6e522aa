//! One subject with its browsers: paced publishing, and windows in which all is counted.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{Clients, Plan};
use crate::event::{Stamp, Template};
use crate::gateway::{self, PATH};
use crate::proc::{Usage, Used};
use crate::progress;
use crate::stats::Latencies;
use crate::subject::Subject;

/// How long nothing may arrive before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fraction of the period over which moments of publishing are spread. The kernel tells user from
/// system time by who runs at its tick; publishing in step with the tick (40 ms is ten of 4 ms) would
/// make it look at the same place of every fan-out.
const SPREAD: f64 = 0.5;

/// The golden ratio's fraction: its multiples fill an interval evenly, without repeating.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// How often, and how many events at once.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Requests a second.
    pub rate: f64,
    /// Events in each.
    pub batch: usize,
}

/// A subject and its browsers, all members of the group.
pub struct Run {
    pub subject: Subject,
    pub clients: Clients,
    members: usize,
    pace: Pace,
    sent: u64,
}

/// What happened in a window.
pub struct Window {
    /// Events that arrived, over all browsers.
    pub deliveries: u64,
    /// What the subject's process used.
    pub used: Used,
    /// Write calls on sockets as the gateway counts them; 0 for the control.
    pub writes: f64,
    /// From the moment when an event was due until a browser had it.
    pub latencies: Latencies,
}

impl Run {
    /// Connects `members` browsers to `subject`.
    pub fn start(subject: Subject, members: usize, pace: Pace, token: usize) -> io::Result<Self> {
        let plan = Plan {
            address: subject.address(),
            path: PATH,
            first: 0,
            count: members,
            signer: gateway::signer(token),
        };
        let clients = Clients::connect(plan)?;
        Ok(Self { subject, clients, members, pace, sent: 0 })
    }

    /// Publishes for `time`, each event when it is due whether or not the one before is through:
    /// being late counts as latency, and is never left out.
    pub fn publish(&mut self, time: Duration, doing: &str) -> io::Result<()> {
        let start = Instant::now();
        for index in 0u32.. {
            let offset = f64::from(index) + SPREAD * (f64::from(index) * GOLDEN).fract();
            let due = Duration::from_secs_f64(offset / self.pace.rate);
            if due >= time {
                break;
            }
            if let Some(wait) = (start + due).checked_duration_since(Instant::now()) {
                thread::sleep(wait);
            }
            self.publish_one(start + due)?;
            progress::show(&format!(
                "{doing}: {:.0} of {:.0} s",
                due.as_secs_f32(),
                time.as_secs_f32()
            ));
        }
        Ok(())
    }

    /// Publishes once, now.
    pub fn publish_now(&mut self) -> io::Result<()> {
        self.publish_one(Instant::now())
    }

    fn publish_one(&mut self, due: Instant) -> io::Result<()> {
        let first = self.sent + 1;
        self.sent += self.pace.batch as u64;
        let stamps: Vec<_> = (first..=self.sent).map(|seq| Stamp::new(seq, due)).collect();
        self.subject.publish(&stamps)
    }

    /// Waits until every browser has every event; fails with the number that is missing.
    pub fn all_delivered(&self) -> io::Result<()> {
        let expected = self.sent * self.members as u64;
        let delivered = self.clients.wait_delivered(expected, PATIENCE);
        let (accounts, faults) = self.clients.accounts()?;
        let disordered: u64 = accounts.iter().map(|account| account.disordered).sum();
        if let Some(fault) = faults.first() {
            let text = format!("{} browsers lost their connection: {fault}", faults.len());
            return Err(io::Error::other(text));
        }
        if delivered == expected && disordered == 0 {
            return Ok(());
        }
        let short = accounts.iter().filter(|account| account.delivered != self.sent).count();
        Err(io::Error::other(format!(
            "{delivered} of {expected} deliveries arrived; {short} of {} browsers have another \
             number than the {} published; {disordered} came twice or out of order",
            self.members, self.sent
        )))
    }

    /// Publications so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// What the subject uses while nothing is published.
    pub fn idle(&self, time: Duration) -> io::Result<Used> {
        let before = Usage::of(self.subject.pid())?;
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            progress::show(&format!("idle baseline: {:.0} s left", left.as_secs_f32()));
            thread::sleep(left.min(Duration::from_millis(500)));
        }
        Ok(Usage::of(self.subject.pid())?.since(&before))
    }

    /// Publishes for `time` and counts everything until the last delivery.
    pub fn window(&mut self, time: Duration, doing: &str) -> io::Result<Window> {
        let writes = self.subject.counter("groupcast_writes_total")?;
        let delivered = self.clients.delivered();
        self.clients.sample(0..self.members)?;
        let before = Usage::of(self.subject.pid())?;
        self.publish(time, doing)?;
        self.all_delivered()?;
        let used = Usage::of(self.subject.pid())?.since(&before);
        Ok(Window {
            deliveries: self.clients.delivered() - delivered,
            used,
            writes: self.subject.counter("groupcast_writes_total")? - writes,
            latencies: Latencies::new(self.clients.samples()?),
        })
    }

    /// A frame as the subject wrote it.
    pub fn template(&self) -> io::Result<Template> {
        let frame = self.clients.template();
        frame
            .and_then(Template::new)
            .ok_or_else(|| io::Error::other("no event arrived that could be a model"))
    }

    /// Disconnects everybody and ends the subject.
    pub fn stop(self) -> io::Result<()> {
        drop(self.clients);
        self.subject.stop()
    }
}
