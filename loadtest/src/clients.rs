//! The browsers of a run, as seen by who measures: connect them, wait for them, ask for accounts.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, ops};

use mio::{Poll, Waker};

use crate::account::Account;
use crate::browser::Ears;
use crate::crowd::{Command, Crowd, Tally, WAKE};
use crate::progress;
use crate::token::Signer;

/// Bytes read from a socket at once.
const SCRATCH: usize = 64 * 1024;

/// Whom to connect, and to what.
pub struct Plan {
    /// Where.
    pub address: SocketAddr,
    /// Path of the WebSocket.
    pub path: &'static str,
    /// The number of the first browser.
    pub first: usize,
    /// How many browsers.
    pub count: usize,
    /// Makes their tokens.
    pub signer: Signer,
}

/// Handle on the thread of the browsers.
pub struct Clients {
    commands: Sender<Command>,
    waker: Waker,
    tally: Arc<Tally>,
    template: Arc<OnceLock<Vec<u8>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Clients {
    /// Connects all browsers of `plan` and waits until each is a member of its groups. One that
    /// fails, fails the run.
    pub fn connect(plan: Plan) -> io::Result<Self> {
        let (count, address) = (plan.count as u64, plan.address);
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let (commands, inbox) = mpsc::channel();
        let tally = Arc::new(Tally::default());
        let template = Arc::new(OnceLock::new());
        let ears = Ears {
            scratch: vec![0; SCRATCH].into(),
            samples: Vec::new(),
            template: Arc::clone(&template),
        };
        let crowd = Crowd::new(poll, plan, ears, Arc::clone(&tally), inbox);
        let thread = thread::Builder::new().name("browsers".into()).spawn(|| crowd.run())?;
        let clients = Self { commands, waker, tally, template, thread: Some(thread) };

        let deadline = Instant::now() + Duration::from_secs(20 + count / 200);
        loop {
            let members = clients.tally.members.load(Ordering::Relaxed);
            let ended = clients.tally.ended.load(Ordering::Relaxed);
            if ended > 0 {
                let (_, faults) = clients.accounts()?;
                let first = faults.first().map_or("no reason given", String::as_str);
                let text = format!("{ended} of {count} browsers failed to connect: {first}");
                return Err(io::Error::other(text));
            }
            if members == count {
                return Ok(clients);
            }
            if Instant::now() > deadline {
                let text = format!("{members} of {count} browsers welcomed by {address} in time");
                return Err(io::Error::other(text));
            }
            progress::show(&format!("connecting to {address}: {members} of {count}"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Events delivered to all browsers so far.
    pub fn delivered(&self) -> u64 {
        self.tally.delivered.load(Ordering::Relaxed)
    }

    /// [`wait`]s until `expected` events were delivered in all.
    pub fn wait_delivered(&self, expected: u64, patience: Duration) -> u64 {
        wait(|| self.delivered(), expected, patience)
    }

    /// The browsers below index `count` stop reading.
    pub fn stall(&self, count: usize) -> io::Result<()> {
        self.tell(Command::Stall(count))
    }

    /// All browsers read again.
    pub fn resume(&self) -> io::Result<()> {
        self.tell(Command::Resume)
    }

    /// Begins to sample the latencies of the browsers in `range`, and of no other.
    pub fn sample(&self, range: ops::Range<usize>) -> io::Result<()> {
        self.tell(Command::Sample(range))
    }

    /// Takes the raw latencies sampled since, nanoseconds.
    pub fn samples(&self) -> io::Result<Vec<u64>> {
        self.ask(Command::Samples)
    }

    /// The accounts of all browsers, by index, and the reasons of those that ended.
    pub fn accounts(&self) -> io::Result<(Vec<Account>, Vec<String>)> {
        self.ask(Command::Accounts)
    }

    /// The first frame with an event that any browser got.
    pub fn template(&self) -> Option<Vec<u8>> {
        self.template.get().cloned()
    }

    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> io::Result<T> {
        let (sender, answer) = mpsc::channel();
        self.tell(command(sender))?;
        answer.recv().map_err(|_| io::Error::other("the browsers' thread ended"))
    }

    fn tell(&self, command: Command) -> io::Result<()> {
        let _ = self.commands.send(command);
        self.waker.wake()
    }
}

/// Waits until `delivered` says `expected`, or nothing further for `patience`; what it says then.
pub fn wait(delivered: impl Fn() -> u64, expected: u64, patience: Duration) -> u64 {
    let mut seen = delivered();
    let mut since = Instant::now();
    while seen < expected && since.elapsed() < patience {
        thread::sleep(Duration::from_millis(1));
        let now = delivered();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    seen
}

impl Drop for Clients {
    /// Closes every connection: the thread ends when nobody can command it any more.
    fn drop(&mut self) {
        self.commands = mpsc::channel().0;
        let _ = self.waker.wake();
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            progress::end();
            eprintln!("the browsers' thread failed: {error}");
        }
    }
}
