//! The browsers of a run: a thread with a task for each, and the handle on it.
//!
//! One thread is enough, and its cost does not count: it is in another process than the one
//! measured.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{io, ops};

use tokio::runtime;
use tokio::sync::{Semaphore, watch};

use crate::account::Account;
use crate::browser::Browser;
use crate::event::Stamp;
use crate::gateway;
use crate::progress;
use crate::stats::Latencies;

/// How long nothing may arrive before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(5);

/// Concurrent handshakes: below the gateway's own limit and any listen queue.
const CONNECTING: usize = 128;

/// Browsers of one gateway: their numbers, and the length of their tokens.
#[derive(Clone)]
pub struct Plan {
    pub numbers: ops::Range<usize>,
    pub token_bytes: usize,
}

/// Handle on the browsers. Dropped, it closes every connection.
pub struct Clients {
    recorder: Arc<Recorder>,
    /// Browsers below this index do not read; without a sender the thread ends.
    stalled: Option<watch::Sender<usize>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Records what all browsers have received.
#[derive(Default)]
pub struct Recorder {
    delivered: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By index of the browser.
    accounts: Vec<Account>,
    /// Browsers welcomed.
    members: usize,
    /// Why browsers ended.
    faults: Vec<String>,
    /// Browsers whose latencies are sampled.
    sampled: ops::Range<usize>,
    /// Raw latencies, nanoseconds.
    samples: Vec<u64>,
    /// The first message with a measured event.
    template: Option<String>,
}

impl Recorder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Browser `index` has received an event.
    pub fn event(&self, index: usize, stamp: Stamp, message: &str, now: Instant) {
        let mut state = self.state();
        state.accounts[index].event(stamp.seq);
        if state.sampled.contains(&index) {
            state.samples.push(stamp.age(now).as_nanos() as u64);
        }
        state.template.get_or_insert_with(|| message.to_owned());
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// Browser `index` has received a gap that reports `lost` events.
    pub fn gap(&self, index: usize, lost: u64) {
        let account = &mut self.state().accounts[index];
        account.gaps += 1;
        account.reported_lost += lost;
    }
}

impl Clients {
    /// Connects all browsers of `plan` to `address` and waits until each is a member of its groups.
    /// One that fails, fails the run.
    pub fn connect(address: SocketAddr, plan: Plan) -> io::Result<Self> {
        let count = plan.numbers.len();
        let recorder = Arc::new(Recorder::default());
        recorder.state().accounts.resize(count, Account::default());
        let (stalled, watched) = watch::channel(0);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("browsers".into()).spawn({
            let recorder = Arc::clone(&recorder);
            move || runtime.block_on(serve(address, plan, &recorder, watched))
        })?;
        let clients = Self { recorder, stalled: Some(stalled), thread: Some(thread) };
        let deadline = Instant::now() + Duration::from_secs(20 + count as u64 / 200);
        loop {
            clients.accounts()?;
            let members = clients.recorder.state().members;
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

    pub fn delivered(&self) -> u64 {
        self.recorder.delivered.load(Ordering::Relaxed)
    }

    /// The browsers below index `count` stop reading, all others read.
    pub fn stall(&self, count: usize) {
        if let Some(stalled) = &self.stalled {
            stalled.send_replace(count);
        }
    }

    /// Samples the latencies of the browsers in `range`, and of no other, from now on.
    pub fn sample(&self, range: ops::Range<usize>) {
        let mut state = self.recorder.state();
        state.samples.clear();
        state.sampled = range;
    }

    /// Takes the latencies sampled since.
    pub fn latencies(&self) -> Latencies {
        Latencies::new(std::mem::take(&mut self.recorder.state().samples))
    }

    /// The accounts of all browsers, by index; an error if one has lost its connection.
    pub fn accounts(&self) -> io::Result<Vec<Account>> {
        let state = self.recorder.state();
        match state.faults.first() {
            None => Ok(state.accounts.clone()),
            Some(fault) => {
                let text = format!("{} browsers failed: {fault}", state.faults.len());
                Err(io::Error::other(text))
            }
        }
    }

    /// Waits until each browser has as many events as `sent` lists: every one once and in order, or
    /// an error that says how many are missing.
    pub fn check(&self, sent: &[u64]) -> io::Result<()> {
        wait(|| self.delivered(), sent.iter().sum());
        let accounts = self.accounts()?;
        let pairs = || accounts.iter().zip(sent);
        if pairs().all(|(a, &sent)| a.delivered == sent && a.missing == 0 && a.disordered == 0) {
            return Ok(());
        }
        let lost: u64 = pairs().map(|(a, sent)| sent.saturating_sub(a.delivered)).sum();
        let disordered: u64 = accounts.iter().map(|account| account.disordered).sum();
        let gaps: u64 = accounts.iter().map(|account| account.gaps).sum();
        Err(io::Error::other(format!(
            "of {} deliveries {lost} are missing, {disordered} came twice or out of order; {gaps} \
             gaps were reported",
            sent.iter().sum::<u64>()
        )))
    }

    /// The first message with an event that any browser received.
    pub fn template(&self) -> Option<String> {
        self.recorder.state().template.clone()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stalled = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Connects the browsers and lets them receive until `stalled` has no sender.
async fn serve(
    address: SocketAddr,
    plan: Plan,
    recorder: &Arc<Recorder>,
    mut stalled: watch::Receiver<usize>,
) {
    let places = Arc::new(Semaphore::new(CONNECTING));
    for (index, number) in plan.numbers.enumerate() {
        let (recorder, places, stalled) =
            (Arc::clone(recorder), Arc::clone(&places), stalled.clone());
        let run = async move |recorder: &Recorder| {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let token = gateway::token(&gateway::browser(number), plan.token_bytes)?;
            let browser = Browser::connect(index, address, token).await?;
            recorder.state().members += 1;
            drop(place);
            browser.receive(recorder, stalled).await
        };
        tokio::spawn(async move {
            if let Err(fault) = run(&recorder).await {
                recorder.state().faults.push(fault.to_string());
            }
        });
    }
    while stalled.changed().await.is_ok() {}
}

/// Waits until `delivered` is `expected`, or nothing further for [`SILENCE`]; what it is then.
pub fn wait(delivered: impl Fn() -> u64, expected: u64) -> u64 {
    let mut seen = delivered();
    let mut since = Instant::now();
    while seen < expected && since.elapsed() < SILENCE {
        thread::sleep(Duration::from_millis(1));
        let now = delivered();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    seen
}
