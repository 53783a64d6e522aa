//! The control of draining: empties mailboxes by blocking pops and discards their content.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use super::resp::{Connection, Reply};
use crate::publishers::now;

/// Mailboxes, as many as gateways share by default.
const MAILBOXES: usize = 64;

/// A thread that pops. Messages are counted and discarded: no order, no fence, no publication. It
/// ends when the value is dropped.
pub struct BareDrain {
    taken: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
}

impl BareDrain {
    /// Makes each of `groups` have one member, in a mailbox that is emptied from now on.
    pub fn start(redis: SocketAddr, groups: &[String]) -> io::Result<Self> {
        let mut connection = Connection::open(redis)?;
        let now = format!("{:?}", now());
        for (index, group) in groups.iter().enumerate() {
            let member = format!("{}{group}", mailbox(index % MAILBOXES));
            let key = format!("asgi:group:{group}");
            connection.ask(&[b"ZADD", key.as_bytes(), now.as_bytes(), member.as_bytes()])?;
        }
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let thread = thread::Builder::new().name("bare drain".into()).spawn(move || {
            while Arc::strong_count(&counter) > 1 {
                counter.fetch_add(pop(&mut connection)?, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok(Self { taken, thread })
    }

    /// Entries taken so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn stop(self) -> io::Result<()> {
        drop(self.taken);
        self.thread.join().map_err(|_| io::Error::other("the bare drain panicked"))?
    }
}

/// Takes from the first mailbox that has something; waits for it at most half a second.
fn pop(connection: &mut Connection) -> io::Result<u64> {
    let keys: Vec<_> = (0..MAILBOXES).map(|n| format!("asgi{}", mailbox(n))).collect();
    let count = MAILBOXES.to_string();
    let mut words: Vec<&[u8]> = vec![b"BZMPOP", b"0.5", count.as_bytes()];
    words.extend(keys.iter().map(String::as_bytes));
    words.extend([&b"MIN"[..], b"COUNT", b"256"]);
    let Reply::Array(parts) = connection.ask(&words)? else { return Ok(0) };
    match &parts[..] {
        [_, Reply::Array(entries)] => Ok(entries.len() as u64),
        _ => Err(io::Error::other(format!("BZMPOP answers with {parts:?}"))),
    }
}

fn mailbox(number: usize) -> String {
    format!("groupcast.control.{number}!")
}
