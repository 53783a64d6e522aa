//! What the machine allows: file descriptors and cores.

use std::io;
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that a process needs in addition to its sockets.
const RESERVE: u64 = 128;

/// Raises the limit on file descriptors so that `sockets` fit, here and in every child.
pub fn allow_sockets(sockets: usize) -> io::Result<()> {
    let needed = sockets as u64 + RESERVE;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        let text = format!("{sockets} connections need {needed} descriptors, the limit is {hard}");
        return Err(io::Error::other(text + ": raise it (ulimit -Hn) or ask for fewer"));
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, needed, hard)?)
}

pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
