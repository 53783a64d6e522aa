//! Accept loops of our own: axum's keeps the socket, and has no bounds on headers and handshakes.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::shutdown::{Phase, Shutdown};

/// Longest request head, bytes. Cookies of a busy site fit; a token is 1 to 8 KiB.
const MAX_HEAD: usize = 32 * 1024;

/// Most header lines; hyper's own default, said here since CVE-2023-43669 was about its absence.
const MAX_HEADERS: usize = 100;

/// Pause after an accept that failed for want of descriptors: trying again at once only burns CPU.
const PAUSE: Duration = Duration::from_millis(50);

/// How one listener works.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) router: Router,
    /// Connections that speak HTTP; more wait in the listen queue.
    pub(super) slots: Arc<Semaphore>,
    pub(super) header_timeout: Duration,
}

/// Keeps a connection's place among those that speak HTTP, also over its upgrade.
#[derive(Clone)]
pub(super) struct Slot {
    peer: IpAddr,
    #[allow(dead_code, reason = "held, not read")]
    permit: Arc<OwnedSemaphorePermit>,
}

impl Slot {
    /// Who is on the other side of the connection: a browser, or the proxy before it.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }
}

impl Listener {
    /// Accepts until the process reaches `until`; connections that are open then end by themselves.
    pub(super) async fn serve(self, shutdown: Shutdown, until: Phase) {
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
                    let slot = Slot { peer: peer.ip(), permit: Arc::new(permit) };
                    self.converse(stream, slot);
                }
                Err(error) => self.explain(&error).await,
            }
        }
    }

    async fn explain(&self, error: &io::Error) {
        // The peer was gone before it was accepted: its own affair.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
        {
            return;
        }
        tracing::error!(%error, "a connection could not be accepted; is the limit on files reached?");
        tokio::time::sleep(PAUSE).await;
    }

    fn converse(&self, stream: TcpStream, slot: Slot) {
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
                tracing::debug!(%error, "an HTTP connection ended early");
            }
        });
    }
}

async fn answer(router: Router, slot: Slot, request: Request<Incoming>) -> Response {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(slot);
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
