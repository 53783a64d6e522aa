//! The control of draining: mailboxes emptied by blocking pops, what was in them thrown away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use super::resp::{Connection, Reply};
use crate::senders;

/// Mailboxes, as many as a gateway shares with its like by default.
const MAILBOXES: usize = 64;

/// Most entries taken at once.
const BATCH: &[u8] = b"256";

/// A thread that pops. What it takes is counted and gone: no order, no fence, no publication.
pub struct BareDrain {
    taken: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl BareDrain {
    /// Makes each of `groups` have one member, in a mailbox that is emptied from now on.
    pub fn start(redis: SocketAddr, groups: &[String]) -> io::Result<Self> {
        let mut connection = Connection::open(redis)?;
        let now = format!("{:?}", senders::now());
        for (index, group) in groups.iter().enumerate() {
            let member = format!("{}{group}", mailbox(index % MAILBOXES));
            let key = format!("asgi:group:{group}");
            connection.ask(&[b"ZADD", key.as_bytes(), now.as_bytes(), member.as_bytes()])?;
        }
        let (taken, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, flag) = (Arc::clone(&taken), Arc::clone(&stop));
        let thread = thread::Builder::new().name("bare drain".into()).spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                counter.fetch_add(pop(&mut connection)?, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok(Self { taken, stop, thread: Some(thread) })
    }

    /// Entries taken so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn stop(mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or_else(|| io::Error::other("it has ended"))?;
        thread.join().map_err(|_| io::Error::other("the bare drain panicked"))?
    }
}

impl Drop for BareDrain {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Takes what the first mailbox that has something has; waits for it at most half a second.
fn pop(connection: &mut Connection) -> io::Result<u64> {
    let keys: Vec<_> = (0..MAILBOXES).map(|n| format!("asgi{}", mailbox(n))).collect();
    let count = MAILBOXES.to_string();
    let mut words: Vec<&[u8]> = vec![b"BZMPOP", b"0.5", count.as_bytes()];
    words.extend(keys.iter().map(String::as_bytes));
    words.extend([&b"MIN"[..], b"COUNT", BATCH]);
    let Reply::Array(parts) = connection.ask(&words)? else { return Ok(0) };
    match &parts[..] {
        [_, Reply::Array(entries)] => Ok(entries.len() as u64),
        _ => Err(io::Error::other(format!("BZMPOP answers with {parts:?}"))),
    }
}

fn mailbox(number: usize) -> String {
    format!("groupcast.control.{number}!")
}
