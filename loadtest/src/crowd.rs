//! The thread of the browsers: one epoll, every socket.
//!
//! One thread is enough, and what it costs is no matter: it is another process than the one measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::{io, ops};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::account::Account;
use crate::browser::{Browser, Ears, Stage};
use crate::clients::Plan;
use crate::gateway;
use crate::websocket;

/// Handshakes under way at once: below the gateway's own bound and any listen queue.
const CONNECTING: usize = 128;

/// Receive buffer of browsers that stop reading: what sockets have before the kernel enlarges it,
/// which it does for good once one has caught up in a burst. Megabytes would hide the outbox.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// The token of the waker; the others are indices of browsers.
pub const WAKE: Token = Token(usize::MAX);

/// Counters that can be read while the thread runs.
#[derive(Default)]
pub struct Tally {
    /// Browsers welcomed.
    pub members: AtomicU64,
    /// Browsers that are over.
    pub ended: AtomicU64,
    /// Events that arrived, at all browsers.
    pub delivered: AtomicU64,
}

/// What the thread can be told.
pub enum Command {
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

/// The thread's own state.
pub struct Crowd {
    poll: Poll,
    plan: Plan,
    browsers: Vec<Browser>,
    ears: Ears,
    tally: Arc<Tally>,
    inbox: Receiver<Command>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(
        poll: Poll,
        plan: Plan,
        ears: Ears,
        tally: Arc<Tally>,
        inbox: Receiver<Command>,
    ) -> Self {
        Self { poll, plan, browsers: Vec::new(), ears, tally, inbox }
    }

    /// Serves until nobody can command it any more.
    pub fn run(mut self) -> io::Result<()> {
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
            let token = self.plan.signer.token(&gateway::browser(self.plan.first + index));
            self.browsers.push(Browser::new(stream, &token));
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        let registry = self.poll.registry();
        match command {
            Command::Stall(count) => {
                for browser in &mut self.browsers[..count] {
                    SockRef::from(&browser.stream).set_recv_buffer_size(RECEIVE_BUFFER)?;
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
