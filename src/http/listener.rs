//! Accept loops. axum's own keeps the socket and does not limit heads and handshakes.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::telemetry::Counter;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tower::ServiceExt;

use super::guarded_stream::{GuardedStream, RequestCounter, Timeouts};
use super::places::{Granted, Place, Places};
use crate::shutdown::{Phase, Shutdown};

/// Handshakes that the kernel completes before they are accepted; `net.core.somaxconn`, 4096 by
/// default, may lower it. With the standard library's 128 a wave of reconnections loses SYNs and
/// waits whole seconds for their retransmission.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Longest request head, bytes. Cookies of a busy site fit; a token is 1 to 8 KiB.
const MAX_HEAD: usize = 32 * 1024;

/// Most header lines; hyper's default, explicit here because of CVE-2023-43669.
const MAX_HEADERS: usize = 100;

/// Pause after an accept failed for lack of descriptors: an immediate retry would only use CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a peer may leave a response unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between checks for silent connections while others wait for places.
const RELIEF: Duration = Duration::from_millis(250);

/// Time for the last response of a connection that reached its maximum age.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// Opens a listening socket. Port 0 takes any free one.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// One listening socket and its router.
pub(crate) struct Listener {
    name: &'static str,
    socket: TcpListener,
    router: Router,
    places: Places,
    limits: ListenerLimits,
    /// Counts connections that lose their place.
    evictions: Counter,
    has_reported: AtomicBool,
}

/// Limits of the connections of a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenerLimits {
    /// Concurrent HTTP connections.
    pub(crate) connections: usize,
    /// Accepted connections that wait for a place; further ones are closed.
    pub(crate) waiting: usize,
    /// Time for a request's head, from its first byte on.
    pub(crate) head: Duration,
    /// Time from the opening, or from a response, to the end of the next head.
    pub(crate) idle: Duration,
    /// Time after which a connection accepts no further request; does not apply to upgraded ones.
    pub(crate) life: Duration,
}

impl Listener {
    /// Serves `router` on `socket`; `name` is for the log.
    pub(crate) fn new(
        name: &'static str,
        socket: std::net::TcpListener,
        router: Router,
        limits: ListenerLimits,
        evictions: Counter,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        let places = Places::new(limits.connections, limits.waiting);
        let has_reported = AtomicBool::default();
        Ok(Self { name, socket, router, places, limits, evictions, has_reported })
    }

    /// Accepts until the process reaches `until`. Open connections end by themselves.
    pub(crate) async fn serve(self, shutdown: Shutdown, until: Phase) {
        tokio::select! {
            () = self.accept() => {}
            () = shutdown.reached(until) => {}
        }
    }

    async fn accept(&self) {
        let mut relief = interval(RELIEF);
        relief.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = relief.tick() => {
                    self.report_evictions(self.places.relieve());
                    continue;
                }
            };
            match accepted {
                Ok((stream, peer)) => self.welcome(stream, peer.ip()),
                Err(error) => report(&error).await,
            }
        }
    }

    fn welcome(&self, stream: TcpStream, peer: IpAddr) {
        // Answers of the API are small and awaited one by one.
        let _ = stream.set_nodelay(true);
        let (granted, evicted) = self.places.ask(peer);
        self.report_evictions(evicted);
        let (router, limits) = (self.router.clone(), self.limits);
        match granted {
            Granted::Now(place) => drop(tokio::spawn(converse(stream, place, router, limits))),
            Granted::Later(granted) => drop(tokio::spawn(async move {
                if let Ok(place) = granted.await {
                    converse(stream, place, router, limits).await;
                }
            })),
        }
    }

    fn report_evictions(&self, count: usize) {
        if count > 0 {
            self.evictions.increment(count as u64);
            // One line in all: whoever attacks must not fill the log.
            if !self.has_reported.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    listener = self.name,
                    "silent connections are closed to make room for others; each address counts \
                     by itself, and clients behind a proxy count as one (logged once)"
                );
            }
        }
    }
}

/// Serves the requests of one connection, until it is upgraded.
async fn converse(stream: TcpStream, place: Place, router: Router, limits: ListenerLimits) {
    let requests = RequestCounter::default();
    let timeouts = Timeouts { head: limits.head, write: WRITE_TIMEOUT };
    let stream = GuardedStream::new(stream, requests.clone(), timeouts);
    let service = service_fn(|request: Request<Incoming>| {
        let (router, place, requests) = (router.clone(), place.clone(), requests.clone());
        async move {
            requests.advance();
            let busy = place.busy();
            let response = answer(router, place, request).await;
            drop(busy);
            requests.advance();
            Ok::<Response, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = place.evicted() => return,
        () = sleep(limits.life) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "HTTP connection ended early");
    }
}

/// The TCP stream of an upgraded connection, and the bytes read after its request.
pub(crate) fn into_tcp(upgraded: Upgraded) -> Option<(TcpStream, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<GuardedStream>>().ok()?;
    // A copy: the buffer itself is a view of 8 KiB (measured).
    let leftover = parts.read_buf.to_vec();
    Some((parts.io.into_inner().into_inner(), leftover))
}

/// Logs a failed accept, and waits before the next where waiting helps.
async fn report(error: &io::Error) {
    // The peer disconnected before it was accepted, which is no error here.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::error!(%error, "accepting a connection failed; is the limit on open files reached?");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn answer(router: Router, place: Place, request: Request<Incoming>) -> Response {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(place);
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
