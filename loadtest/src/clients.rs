//! All browsers of a run on one thread and one epoll: connects them, reads, keeps their accounts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, ops};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::account::Account;
use crate::browser::{Browser, Ears, Stage};
use crate::token::Signer;
use crate::{report, websocket};

/// Handshakes under way at once: below the gateway's own bound and any listen queue.
const CONNECTING: usize = 128;

const WAKE: Token = Token(usize::MAX);
const SCRATCH: usize = 64 * 1024;

/// Whom to connect, and to what.
pub struct Plan {
    /// Where.
    pub address: SocketAddr,
    /// Path of the WebSocket.
    pub path: &'static str,
    /// How many browsers.
    pub count: usize,
    /// Makes their tokens; browser i is `sub` `u<i>`.
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

/// Counters that can be read while the thread runs.
#[derive(Default)]
struct Tally {
    members: AtomicU64,
    ended: AtomicU64,
    delivered: AtomicU64,
}

enum Command {
    /// Browsers below this index stop reading.
    Stall(usize),
    /// All read again.
    Resume,
    /// Latencies of the browsers in this range are sampled from now on, older samples dropped.
    Sample(ops::Range<usize>),
    /// Hands the samples over.
    Samples(Sender<Vec<u64>>),
    /// Hands the accounts and faults over.
    Accounts(Sender<(Vec<Account>, Vec<String>)>),
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
        let crowd =
            Crowd { poll, plan, browsers: Vec::new(), ears, tally: Arc::clone(&tally), inbox };
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
            report::progress(&format!("connecting to {address}: {members} of {count}"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Events delivered to all browsers so far.
    pub fn delivered(&self) -> u64 {
        self.tally.delivered.load(Ordering::Relaxed)
    }

    /// Waits until `expected` events were delivered in all, or no further one came for `patience`;
    /// what is there then.
    pub fn wait_delivered(&self, expected: u64, patience: Duration) -> u64 {
        let mut seen = self.delivered();
        let mut since = Instant::now();
        while seen < expected && since.elapsed() < patience {
            thread::sleep(Duration::from_millis(1));
            let now = self.delivered();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        seen
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

impl Drop for Clients {
    /// Closes every connection: the thread ends when nobody can command it any more.
    fn drop(&mut self) {
        self.commands = mpsc::channel().0;
        let _ = self.waker.wake();
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            report::progress_done();
            eprintln!("the browsers' thread failed: {error}");
        }
    }
}

/// The thread's own state.
struct Crowd {
    poll: Poll,
    plan: Plan,
    browsers: Vec<Browser>,
    ears: Ears,
    tally: Arc<Tally>,
    inbox: Receiver<Command>,
}

impl Crowd {
    fn run(mut self) -> io::Result<()> {
        let request = websocket::request(&self.plan.address.to_string(), self.plan.path);
        let mut events = Events::with_capacity(1024);
        self.connect_more(0)?;
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            let mut delivered = 0;
            for event in &events {
                if event.token() == WAKE {
                    continue;
                }
                delivered += self.ready(event.token(), event.is_writable(), &request)?;
            }
            self.tally.delivered.fetch_add(delivered, Ordering::Relaxed);
            loop {
                match self.inbox.try_recv() {
                    Ok(command) => self.obey(command)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
        }
    }

    /// Serves one browser; how many events it got.
    fn ready(&mut self, token: Token, writable: bool, request: &[u8]) -> io::Result<u64> {
        let browser = &mut self.browsers[token.0];
        let (before, stage) = (browser.account.delivered, browser.stage);
        if stage == Stage::Opening && writable && browser.open(request) {
            // Write readiness has told what it had to tell.
            self.poll.registry().reregister(&mut browser.stream, token, Interest::READABLE)?;
        }
        browser.read(&mut self.ears);
        let after = browser.account.delivered;
        if browser.stage != stage {
            self.moved(token)?;
        }
        Ok(after - before)
    }

    fn moved(&mut self, token: Token) -> io::Result<()> {
        match self.browsers[token.0].stage {
            Stage::Member => {
                let members = self.tally.members.fetch_add(1, Ordering::Relaxed) + 1;
                self.connect_more(members as usize)?;
            }
            Stage::Ended => {
                self.tally.ended.fetch_add(1, Ordering::Relaxed);
            }
            Stage::Opening | Stage::Greeting => {}
        }
        Ok(())
    }

    fn connect_more(&mut self, members: usize) -> io::Result<()> {
        while self.browsers.len() < (members + CONNECTING).min(self.plan.count) {
            let index = self.browsers.len();
            let mut stream = TcpStream::connect(self.plan.address)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(index), both)?;
            let token = self.plan.signer.token(&format!("u{index:05}"));
            self.browsers.push(Browser::new(stream, &token));
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        let registry = self.poll.registry();
        match command {
            Command::Stall(count) => {
                for browser in &mut self.browsers[..count] {
                    registry.deregister(&mut browser.stream)?;
                    browser.stalled = true;
                }
            }
            Command::Resume => {
                for (index, browser) in self.browsers.iter_mut().enumerate() {
                    if std::mem::take(&mut browser.stalled) {
                        let readable = Interest::READABLE;
                        registry.register(&mut browser.stream, Token(index), readable)?;
                    }
                }
            }
            Command::Sample(range) => {
                self.ears.samples.clear();
                for (index, browser) in self.browsers.iter_mut().enumerate() {
                    browser.sampled = range.contains(&index);
                }
            }
            Command::Samples(reply) => {
                let _ = reply.send(std::mem::take(&mut self.ears.samples));
            }
            Command::Accounts(reply) => {
                let accounts = self.browsers.iter().map(|browser| browser.account).collect();
                let faults = self.browsers.iter().filter_map(|b| b.fault.clone()).collect();
                let _ = reply.send((accounts, faults));
            }
        }
        Ok(())
    }
}
