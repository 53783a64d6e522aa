//! A connection's byte stream, never blocking, driven by the readiness that a shard polls for.

#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::Settings;

/// The bytes between a browser, or the proxy before it, and the gateway.
///
/// Reads and writes end with [`ErrorKind::WouldBlock`] when the socket has nothing or takes
/// nothing. Readiness is edge-triggered: whoever was told of an edge reads or writes until then.
#[derive(Debug)]
pub enum Stream {
    /// TCP without encryption: behind a proxy, or in development.
    Tcp(mio::net::TcpStream),
}

impl Stream {
    /// Takes over a connected socket after its handshake and sets it up for many small messages.
    ///
    /// - No delay: a tick's messages leave in one write, so waiting for more only adds latency.
    /// - Few unsent bytes in the kernel ([`Settings::notsent_lowat`]): the queue stays where
    ///   capacity and expiry rule it.
    /// - The kernel gives up on a peer that acknowledges nothing, or takes nothing, for as long as
    ///   one that answers no ping is kept (`TCP_USER_TIMEOUT`).
    ///
    /// # Errors
    /// Those of `fcntl` and `setsockopt`; in practice the peer is gone already.
    pub fn from_std(socket: std::net::TcpStream, settings: &Settings) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let options = SockRef::from(&socket);
        options.set_tcp_nodelay(true)?;
        options.set_tcp_notsent_lowat(settings.notsent_lowat)?;
        options.set_tcp_user_timeout(Some(settings.ping + settings.ping_grace))?;
        Ok(Self::Tcp(mio::net::TcpStream::from_std(socket)))
    }

    /// Asks for the edges of both directions, once for the whole life of the connection.
    ///
    /// Re-arming write interest for each backlog would cost a system call each time; an edge that
    /// nobody waits for costs one look at an absent outbox.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(socket) => registry.register(socket, token, both),
        }
    }

    /// Asks for no more edges; before the stream is dropped or moves to another shard.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => registry.deregister(socket),
        }
    }

    /// Reads what is there; 0 = the peer has sent its last byte.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Tcp(socket) => socket.read(buffer),
        })
    }

    /// Writes from the front of `slices` as much as the socket takes, in one call.
    ///
    /// One slice goes by `send`, which knows that it has a socket: `writev` looks up the file and
    /// its position first, a tenth of all that a small write costs (measured with perf).
    pub fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| match (&mut *self, slices) {
            (Self::Tcp(socket), [single]) => socket.write(single),
            (Self::Tcp(socket), several) => socket.write_vectored(several),
        })
    }

    /// Tells the peer that nothing more follows; what the kernel holds is still sent.
    ///
    /// # Errors
    /// [`ErrorKind::NotConnected`] if the peer was faster.
    pub fn shut_down_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
        }
    }
}

/// A signal that arrives during a system call is nobody's readiness: the call is made again.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
