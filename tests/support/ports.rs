//! Ports for servers that must be told a number before they can bind it.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where they begin, and how many there are. From 32,768 on Linux (`ip_local_port_range`) gives
/// ports to outgoing connections: one took a port that was free, before a server had bound it.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// Ports that one process is likely to need, so that two at once begin apart.
const SHARE: u32 = 199;

/// One that nobody listens at, and that this process has not given away lately.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let given = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = std::process::id().wrapping_mul(SHARE).wrapping_add(given) % COUNT;
        let port = (FIRST + number) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
