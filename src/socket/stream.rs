//! A connection's non-blocking byte stream, driven by the readiness that a shard polls for.

#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::Settings;

/// The byte stream between a browser, or its proxy, and the gateway.
///
/// Reads and writes end with [`ErrorKind::WouldBlock`] when the socket has nothing or takes
/// nothing. Readiness is edge-triggered: after an edge, read or write until then.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP without encryption: behind a proxy, or in development.
    Tcp(mio::net::TcpStream),
}

impl Stream {
    /// Takes over a connected socket after its handshake and sets it up for many small messages.
    ///
    /// - No delay: a turn's messages leave in one write, so waiting for more only adds latency.
    /// - Few unsent bytes in the kernel ([`Settings::notsent_lowat`]): events stay in the queue to
    ///   which capacity and expiry apply.
    /// - The kernel abandons a peer that acknowledges or takes nothing, after the same time as one
    ///   that answers no ping (`TCP_USER_TIMEOUT`).
    ///
    /// # Errors
    /// Those of `fcntl` and `setsockopt`; in practice the peer has already disconnected.
    pub(crate) fn from_std(socket: std::net::TcpStream, settings: &Settings) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let options = SockRef::from(&socket);
        options.set_tcp_nodelay(true)?;
        options.set_tcp_notsent_lowat(settings.notsent_lowat)?;
        options.set_tcp_user_timeout(Some(settings.ping + settings.ping_grace))?;
        Ok(Self::Tcp(mio::net::TcpStream::from_std(socket)))
    }

    /// The address of the other end, unless it has disconnected.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
        }
    }

    /// Registers for edges of both directions, once per connection.
    ///
    /// Re-arming write interest for each backlog would cost a system call each time; an unneeded
    /// edge costs one check for an outbox.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(socket) => registry.register(socket, token, both),
        }
    }

    /// Reads available bytes; 0 = the peer has ended its side.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Tcp(socket) => socket.read(buffer),
        })
    }

    /// Writes as much of `slices` as the socket takes, in one call.
    ///
    /// A single slice is sent by `send`: `writev` also looks up the file and its position, a tenth
    /// of the cost of a small write (measured with perf).
    pub(crate) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| match (&mut *self, slices) {
            (Self::Tcp(socket), [single]) => socket.write(single),
            (Self::Tcp(socket), several) => socket.write_vectored(several),
        })
    }

    /// Ends the sending side; what the kernel has buffered is still sent.
    ///
    /// # Errors
    /// [`ErrorKind::NotConnected`] if the peer has ended first.
    pub(crate) fn shut_down_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
        }
    }
}

/// Repeats a system call that a signal interrupted.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
