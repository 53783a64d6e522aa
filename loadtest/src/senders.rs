//! Processes with a channel layer, as threads: each sends to groups of its own, paced, and keeps account.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::event::{MIN_BYTES, Stamp};
use crate::proc;
use crate::redis::group_send::{ChannelLayer, Message, Settings};

/// All senders of a run.
pub struct Senders {
    senders: Vec<Sender>,
    groups: usize,
}

/// What was sent in a window.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sending {
    /// group_sends that Redis took.
    pub taken: u64,
    /// group_sends whose mailbox was full: lost, as with the library, whose caller isn't told.
    pub full: u64,
    /// CPU time of the senders, seconds.
    pub cpu: f64,
    /// From the beginning until the last was sent.
    pub time: Duration,
}

struct Sender {
    layer: ChannelLayer,
    /// Name and newest number of its groups.
    groups: Vec<(String, u64)>,
    bytes: usize,
}

/// Fills prefixes; seeded, so that runs are alike, and each sender differently, so that messages are not.
pub fn prefixes(seed: u64) -> impl FnMut(&mut [u8]) + Send {
    // xorshift64: a prefix needs to be unlike others, no more.
    let mut state = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    move |prefix| {
        for byte in prefix {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 32) as u8;
        }
    }
}

/// Now, as Python's `time.time()` says it.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The measured event as the map that Django code would send.
pub fn message(stamp: Stamp, bytes: usize) -> Message {
    let Stamp { seq, due } = stamp;
    let text = |key: &str, value: String| (key.to_owned(), value.into());
    vec![
        text("type", "medida".to_owned()),
        text("seq", format!("{seq:010}")),
        text("at", format!("{due:016}")),
        text("pad", "x".repeat(bytes.saturating_sub(MIN_BYTES))),
    ]
}

impl Senders {
    /// `count` senders with a connection each, to whom `groups` are dealt out in turn: a group has one
    /// sender, so that its order is that of its numbers.
    pub fn connect(
        redis: SocketAddr,
        settings: &Settings,
        count: usize,
        groups: &[String],
        bytes: usize,
    ) -> io::Result<Self> {
        let sender = |number: usize| {
            let own = groups.iter().skip(number).step_by(count);
            Ok(Sender {
                layer: ChannelLayer::connect(redis, settings.clone(), prefixes(number as u64))?,
                groups: own.map(|group| (group.clone(), 0)).collect(),
                bytes,
            })
        };
        let senders = (0..count).map(sender).collect::<io::Result<_>>()?;
        Ok(Self { senders, groups: groups.len() })
    }

    /// Sends at `rate` a second, all senders together, as much as is due in `time`, each message when it
    /// is due or, if its sender is late, as soon as it can.
    pub fn send(&mut self, rate: f64, time: Duration) -> io::Result<Sending> {
        let each = rate / self.senders.len() as f64;
        let start = Instant::now();
        let outcomes: Vec<io::Result<Sending>> = thread::scope(|scope| {
            let step = Duration::from_secs_f64(1.0 / rate);
            let begin = |(number, sender): (usize, _)| (start + step * number as u32, sender);
            let threads: Vec<_> = (self.senders.iter_mut().enumerate().map(begin))
                .map(|(start, sender)| scope.spawn(move || sender.send(each, time, start)))
                .collect();
            let ended = || Err(io::Error::other("a sender panicked"));
            threads.into_iter().map(|t| t.join().unwrap_or_else(|_| ended())).collect()
        });
        outcomes.into_iter().try_fold(Sending::default(), |sum, outcome| {
            let Sending { taken, full, cpu, time } = outcome?;
            Ok(Sending {
                taken: sum.taken + taken,
                full: sum.full + full,
                cpu: sum.cpu + cpu,
                time: sum.time.max(time),
            })
        })
    }

    /// Events taken so far, by group.
    pub fn taken(&self) -> Vec<u64> {
        let mut taken = vec![0; self.groups];
        let count = self.senders.len();
        for (number, sender) in self.senders.iter().enumerate() {
            for (index, (_, seq)) in sender.groups.iter().enumerate() {
                taken[number + index * count] = *seq;
            }
        }
        taken
    }
}

impl Sender {
    fn send(&mut self, rate: f64, time: Duration, start: Instant) -> io::Result<Sending> {
        let (cpu, count) = (proc::of_this_thread()?, (rate * time.as_secs_f64()).round() as usize);
        let mut sending = Sending::default();
        for index in 0..count {
            let due = start + Duration::from_secs_f64(index as f64 / rate);
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                thread::sleep(wait);
            }
            let turn = index % self.groups.len();
            let (group, seq) = &mut self.groups[turn];
            let message = message(Stamp::new(*seq + 1, due), self.bytes);
            let sent = self.layer.group_send(group, &message, now())?;
            if sent.mailboxes != 1 {
                let count = sent.mailboxes;
                return Err(io::Error::other(format!("{group} has {count} mailboxes, not one")));
            }
            // A message that a full mailbox did not take leaves its number to the next one, so that
            // what browsers miss is only ever what got lost after Redis had it.
            sending.full += sent.full as u64;
            sending.taken += 1 - sent.full as u64;
            *seq += 1 - sent.full as u64;
        }
        sending.time = start.elapsed();
        sending.cpu = proc::of_this_thread()? - cpu;
        Ok(sending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_the_event_that_browsers_measure() {
        let stamp = Stamp { seq: 42, due: 1_234_567_890_123 };
        let members = message(stamp, 200);
        let members = members.iter().map(|(key, value)| format!(r#""{key}":{value}"#));
        let json = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        assert_eq!(json, stamp.json(200));
    }

    #[test]
    fn prefixes_are_alike_in_two_runs_and_unlike_within_one_and_between_senders() {
        let take = |seed| {
            let mut fill = prefixes(seed);
            let mut prefix = [[0; 12]; 2];
            prefix.iter_mut().for_each(|prefix| fill(prefix));
            prefix
        };
        assert_eq!(take(0), take(0));
        assert_ne!(take(0)[0], take(0)[1]);
        assert_ne!(take(0), take(1));
    }
}
