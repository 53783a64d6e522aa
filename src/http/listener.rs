//! Accept loops of our own: axum's keeps the socket and does not bound heads and handshakes.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::shutdown::{Phase, Shutdown};

/// Handshakes that the kernel completes before they are accepted; `net.core.somaxconn`, 4096 by
/// default, may lower it. With the standard library's 128 a wave of reconnections loses SYNs and
/// waits whole seconds for their retransmission.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Longest request head, bytes. Cookies of a busy site fit; a token is 1 to 8 KiB.
const MAX_HEAD: usize = 32 * 1024;

/// Most header lines; hyper's own default, repeated here because CVE-2023-43669 was its absence.
const MAX_HEADERS: usize = 100;

/// Pause after an accept that failed for want of descriptors: retrying at once only burns CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens a listening socket. Port 0 takes any free one.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the last run's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// One listening socket and what is served on it.
pub(crate) struct Listener {
    socket: TcpListener,
    router: Router,
    /// Connections that speak HTTP; more wait in the listen queue.
    slots: Arc<Semaphore>,
    header_timeout: Duration,
}

/// A connection's place among those that speak HTTP, held over its upgrade as well.
#[derive(Clone)]
pub(crate) struct ConnectionSlot {
    peer: IpAddr,
    #[allow(dead_code, reason = "held, not read")]
    permit: Arc<OwnedSemaphorePermit>,
}

impl ConnectionSlot {
    /// The other end of the connection: a browser, or the proxy in front of the gateway.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }
}

impl Listener {
    /// Serves `router` on `socket`, to at most `max_connections` at once. A connection has
    /// `header_timeout` for each request's head.
    pub(crate) fn new(
        socket: std::net::TcpListener,
        router: Router,
        max_connections: usize,
        header_timeout: Duration,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        Ok(Self {
            socket,
            router,
            slots: Arc::new(Semaphore::new(max_connections)),
            header_timeout,
        })
    }

    /// Accepts until the process reaches `until`; connections that are open then end by themselves.
    pub(crate) async fn serve(self, shutdown: Shutdown, until: Phase) {
        tokio::select! {
            () = self.accept() => {}
            () = shutdown.reached(until) => {}
        }
    }

    async fn accept(&self) {
        loop {
            let Ok(permit) = Arc::clone(&self.slots).acquire_owned().await else { return };
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    let slot = ConnectionSlot { peer: peer.ip(), permit: Arc::new(permit) };
                    self.converse(stream, slot);
                }
                Err(error) => report(&error).await,
            }
        }
    }

    fn converse(&self, stream: TcpStream, slot: ConnectionSlot) {
        // Answers of the API are small and awaited one by one.
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (router, slot) = (router.clone(), slot.clone());
            async move { Ok::<Response, Infallible>(answer(router, slot, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP connection ended early");
            }
        });
    }
}

/// Logs a failed accept, and waits before the next where waiting helps.
async fn report(error: &io::Error) {
    // The peer was gone before it was accepted, which is no fault here.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::error!(%error, "accepting a connection failed; is the limit on open files reached?");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn answer(router: Router, slot: ConnectionSlot, request: Request<Incoming>) -> Response {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(slot);
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
