//! Ways to publish, and threads that publish to their own groups and count.

use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::event::Stamp;
use crate::http::Api;
use crate::proc;
use crate::progress;
use crate::redis::group_send::{ChannelLayer, Sent};
use crate::redis::resp::{Connection, command};

/// A way to publish.
pub enum Way {
    Post(Api),
    /// Bare `PUBLISH`, which exactly one gateway must take.
    Publish(Connection),
    GroupSend(ChannelLayer),
    /// `group_send` on a connection for each call, as `async_to_sync` has it.
    AsyncToSync(ChannelLayer),
}

/// One publisher and its groups.
pub struct Publisher {
    way: Way,
    /// Name and newest number of each.
    groups: Vec<(String, u64)>,
    next: usize,
    bytes: usize,
}

pub struct Publishers {
    publishers: Vec<Publisher>,
    groups: usize,
}

/// What was sent in a window.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sending {
    /// Events that were taken.
    pub taken: u64,
    /// group_sends whose mailbox was full: lost, as with the library, whose caller does not notice.
    pub full: u64,
    /// CPU time of the publishers, seconds.
    pub cpu: f64,
    /// From the beginning until the last was sent.
    pub time: Duration,
}

/// Now, as Python's `time.time()` gives it.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Way {
    /// Publishes events, each a group and its JSON; how many were lost to full mailboxes.
    fn publish(&mut self, events: &[(&str, String)]) -> io::Result<u64> {
        match self {
            Self::Post(api) => api.publish(events)?,
            Self::Publish(connection) => publish_pipelined(connection, events)?,
            Self::GroupSend(layer) => return group_send(layer, events),
            Self::AsyncToSync(layer) => {
                layer.reconnect()?;
                return group_send(layer, events);
            }
        }
        Ok(0)
    }
}

fn publish_pipelined(connection: &mut Connection, events: &[(&str, String)]) -> io::Result<()> {
    let mut pipeline = Vec::new();
    for (group, json) in events {
        let channel = format!("groupcast:group:{group}");
        command(&mut pipeline, &[b"PUBLISH", channel.as_bytes(), json.as_bytes()]);
    }
    connection.write(&pipeline)?;
    events.iter().try_for_each(|(group, _)| match connection.read_accepted()?.integer()? {
        1 => Ok(()),
        count => Err(io::Error::other(format!("{group} has {count} gateways, not one"))),
    })
}

fn group_send(layer: &mut ChannelLayer, events: &[(&str, String)]) -> io::Result<u64> {
    let mut lost = 0;
    for (group, json) in events {
        match layer.group_send(group, json.clone(), now())? {
            Sent { mailboxes: 1, full } => lost += full as u64,
            sent => return Err(io::Error::other(format!("{group} has not one mailbox: {sent:?}"))),
        }
    }
    Ok(lost)
}

impl Publisher {
    /// A publisher of events of `bytes` bytes.
    pub fn new(way: Way, groups: Vec<String>, bytes: usize) -> Self {
        Self { way, groups: groups.into_iter().map(|group| (group, 0)).collect(), next: 0, bytes }
    }

    /// Publishes the next `count` events as due at `due`, to its groups in turn; how many were lost
    /// to full mailboxes, which may happen to one that is sent alone.
    pub fn publish(&mut self, count: usize, due: Instant) -> io::Result<u64> {
        let mut turns = Vec::with_capacity(count);
        for _ in 0..count {
            let turn = self.next % self.groups.len();
            self.next += 1;
            self.groups[turn].1 += 1;
            let json = Stamp::new(self.groups[turn].1, due).json(self.bytes);
            turns.push((turn, json));
        }
        let first = turns[0].0;
        let event = |(turn, json): (usize, String)| (self.groups[turn].0.as_str(), json);
        let events: Vec<(&str, String)> = turns.into_iter().map(event).collect();
        let lost = self.way.publish(&events)?;
        // A message that a full mailbox did not take leaves its number to the next one, so that
        // what browsers miss is only ever what got lost after Redis had it.
        self.groups[first].1 -= lost;
        Ok(lost)
    }

    /// Publishes at `rate` a second as much as is due in `time`, each event when it is due or, if
    /// the publisher is late, as soon as it can.
    fn pace(&mut self, rate: f64, time: Duration, start: Instant) -> io::Result<Sending> {
        let (cpu, count) = (proc::of_this_thread()?, (rate * time.as_secs_f64()).round() as u64);
        let mut full = 0;
        for index in 0..count {
            let due = start + Duration::from_secs_f64(index as f64 / rate);
            progress::sleep_until(due);
            full += self.publish(1, due)?;
        }
        let cpu = proc::of_this_thread()? - cpu;
        Ok(Sending { taken: count - full, full, cpu, time: start.elapsed() })
    }
}

impl Publishers {
    /// `count` publishers, each by its own `way`, over which `groups` are spread in turn: a group
    /// has one publisher, so that its order is that of its numbers.
    pub fn new(
        groups: &[String],
        bytes: usize,
        count: usize,
        way: impl Fn(usize) -> io::Result<Way>,
    ) -> io::Result<Self> {
        let publisher = |number: usize| {
            let own = groups.iter().skip(number).step_by(count).cloned().collect();
            Ok(Publisher::new(way(number)?, own, bytes))
        };
        let publishers = (0..count).map(publisher).collect::<io::Result<_>>()?;
        Ok(Self { publishers, groups: groups.len() })
    }

    /// Publishes at `rate` a second, all publishers together.
    pub fn pace(&mut self, rate: f64, time: Duration) -> io::Result<Sending> {
        let each = rate / self.publishers.len() as f64;
        let (start, step) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
        let run = |number: usize, publisher: &mut Publisher| {
            publisher.pace(each, time, start + step * number as u32)
        };
        let all = self.each(run)?.into_iter();
        Ok(all.fold(Sending::default(), |sum, one| Sending {
            taken: sum.taken + one.taken,
            full: sum.full + one.full,
            cpu: sum.cpu + one.cpu,
            time: sum.time.max(one.time),
        }))
    }

    /// Runs all publishers, each on a thread.
    pub fn each<T: Send>(
        &mut self,
        run: impl Fn(usize, &mut Publisher) -> io::Result<T> + Sync,
    ) -> io::Result<Vec<T>> {
        let run = &run;
        thread::scope(|scope| {
            let spawn = |(number, publisher)| scope.spawn(move || run(number, publisher));
            let threads: Vec<_> = self.publishers.iter_mut().enumerate().map(spawn).collect();
            let panicked = |_| Err(io::Error::other("a publisher panicked"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
        })
    }

    /// Events taken so far, by group.
    pub fn taken(&self) -> Vec<u64> {
        let mut taken = vec![0; self.groups];
        let count = self.publishers.len();
        for (number, publisher) in self.publishers.iter().enumerate() {
            for (index, (_, seq)) in publisher.groups.iter().enumerate() {
                taken[number + index * count] = *seq;
            }
        }
        taken
    }
}
