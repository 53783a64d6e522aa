//! An address whose connections lead to a server that the test chooses, or nowhere, or take time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Pieces on their way in one direction of a connection.
const ON_THE_WAY: usize = 65_536;

/// Forwards TCP connections, until dropped.
pub(crate) struct Forwarder {
    pub(crate) address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    /// How often all connections of the moment have died.
    deaths: watch::Sender<u64>,
    /// Microseconds that everything takes, one way.
    delay: Arc<AtomicU64>,
}

impl Forwarder {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, targets) = watch::channel(Some(target));
        let delay = Arc::new(AtomicU64::new(0));
        let deaths = watch::Sender::new(0);
        tokio::spawn(serve(listener, targets, deaths.subscribe(), Arc::clone(&delay)));
        Self { address, target, deaths, delay }
    }

    /// One whose server is at a distance.
    pub(crate) async fn delayed(target: SocketAddr, round_trip: Duration) -> Self {
        let forwarder = Self::to(target).await;
        forwarder.delay(round_trip);
        forwarder
    }

    /// Lets new connections lead to `target`. Those that exist stay.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// Ends all connections, and new ones as soon as they are made.
    pub(crate) fn cut(&self) {
        self.target.send_replace(None);
    }

    /// Carries nothing more on the connections that exist, and does not end them: as a firewall
    /// that has forgotten them. New ones work.
    pub(crate) fn forget_connections(&self) {
        self.deaths.send_modify(|count| *count += 1);
    }

    /// Delays what is sent from now on, in both directions together by `round_trip`.
    pub(crate) fn delay(&self, round_trip: Duration) {
        self.delay.store(round_trip.as_micros() as u64 / 2, Ordering::Relaxed);
    }
}

async fn serve(
    listener: TcpListener,
    targets: watch::Receiver<Option<SocketAddr>>,
    deaths: watch::Receiver<u64>,
    delay: Arc<AtomicU64>,
) {
    while let Ok((mut client, _)) = listener.accept().await {
        let (mut targets, mut deaths) = (targets.clone(), deaths.clone());
        let delay = Arc::clone(&delay);
        deaths.mark_unchanged();
        tokio::spawn(async move {
            let Some(target) = *targets.borrow_and_update() else { return };
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let died = {
                let (from_client, to_client) = client.split();
                let (from_server, to_server) = server.split();
                tokio::select! {
                    () = carry(from_client, to_server, &delay) => false,
                    () = carry(from_server, to_client, &delay) => false,
                    died = deaths.changed() => died.is_ok(),
                    // Cut, or dropped.
                    _ = targets.wait_for(Option::is_none) => false,
                }
            };
            if died {
                let _ = targets.wait_for(Option::is_none).await;
            }
        });
    }
}

/// Carries one direction until its end, each piece as long after it came.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, delay: &AtomicU64) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let read = async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + Duration::from_micros(delay.load(Ordering::Relaxed));
            if sender.send((due, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = receiver.recv().await {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
