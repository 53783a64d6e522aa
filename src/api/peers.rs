//! Asks other instances whether they deliver, while this one is cut off from Redis.
//!
//! Their heartbeats are unknown then. The addresses come from the latest one that was seen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::layer::Layer;

/// Time between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Most instances asked at once; one that delivers is enough.
const MAX_PEERS: usize = 8;

/// The question. It is no part of the described API: instances ask it of each other.
const QUESTION: &[u8] =
    b"GET /readyz?delivering HTTP/1.1\r\nHost: instance\r\nConnection: close\r\n\r\n";

/// The beginning of the answer of one that delivers.
const DELIVERING: &[u8] = b"HTTP/1.1 200";

/// Whether another instance delivers, as of the latest question. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerCheck(Arc<AtomicBool>);

impl PeerCheck {
    /// Whether another instance answered that it delivers, although this one is cut off.
    pub(super) fn found_delivering(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks while `layer` is cut off, for as long as the process runs.
    pub(crate) async fn run(self, layer: Layer) {
        let mut ticks = interval(INTERVAL);
        loop {
            ticks.tick().await;
            let health = layer.health();
            let cut_off = health.started && !health.delivering && health.peers == 0;
            let found = cut_off && any_delivers(&layer.peer_addresses()).await;
            if self.0.swap(found, Ordering::Relaxed) != found {
                tracing::warn!(found, "whether another instance delivers while this one cannot");
            }
        }
    }
}

async fn any_delivers(peers: &[SocketAddr]) -> bool {
    let asked = peers.iter().take(MAX_PEERS).map(|peer| timeout(TIMEOUT, delivers(*peer)));
    join_all(asked).await.iter().any(|answer| matches!(answer, Ok(Ok(true))))
}

async fn delivers(peer: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(peer).await?;
    stream.write_all(QUESTION).await?;
    let mut answer = [0; DELIVERING.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer == DELIVERING)
}
