//! One subject with its browsers: paced publishing, and windows in which all is counted.

use std::io;
use std::time::{Duration, Instant};

use crate::clients::{Clients, Plan};
use crate::event::{Stamp, Template};
use crate::proc::{Usage, Used};
use crate::progress;
use crate::subject::Subject;

/// Fraction of the period over which moments of publishing are spread. The kernel tells user from
/// system time by what runs at its tick; publishing in step with the tick (40 ms is ten of 4 ms)
/// would make it look at the same place of every fan-out.
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

impl Run {
    pub fn start(subject: Subject, members: usize, pace: Pace, token: usize) -> io::Result<Self> {
        let plan = Plan { numbers: 0..members, token_bytes: token };
        let clients = Clients::connect(subject.address(), plan)?;
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
            progress::sleep_until(start + due);
            self.publish_one(start + due)?;
            let (done, all) = (due.as_secs_f32(), time.as_secs_f32());
            progress::show(&format!("{doing}: {done:.0} of {all:.0} s"));
        }
        Ok(())
    }

    /// Publishes once, as due at `due`.
    pub fn publish_one(&mut self, due: Instant) -> io::Result<()> {
        let first = self.sent + 1;
        self.sent += self.pace.batch as u64;
        let stamps: Vec<_> = (first..=self.sent).map(|seq| Stamp::new(seq, due)).collect();
        self.subject.publish(&stamps)
    }

    /// Waits until every browser has every event; fails with the number that is missing.
    pub fn all_delivered(&self) -> io::Result<()> {
        self.clients.check(&vec![self.sent; self.members])
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// What the subject's process uses while `during` runs.
    pub fn used(&mut self, during: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<Used> {
        let before = Usage::of(self.subject.pid())?;
        during(self)?;
        Ok(Usage::of(self.subject.pid())?.since(&before))
    }

    /// A message as the subject wrote it.
    pub fn template(&self) -> io::Result<Template> {
        let message = self.clients.template();
        let template = message.and_then(|message| Template::new(&message));
        template.ok_or_else(|| io::Error::other("no event arrived that could be a model"))
    }

    pub fn stop(self) -> io::Result<()> {
        drop(self.clients);
        self.subject.stop()
    }
}
