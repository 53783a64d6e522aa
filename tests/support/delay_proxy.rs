//! A TCP proxy that delays everything, as a distance does.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Pieces on their way in one direction of a connection.
const ON_THE_WAY: usize = 65_536;

/// Starts a proxy to `to` and returns its address. It ends with the test's runtime.
pub(crate) async fn delayed(to: SocketAddr, round_trip: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(to).await else { continue };
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            let ((near_reader, near_writer), (far_reader, far_writer)) =
                (near.into_split(), far.into_split());
            carry(near_reader, far_writer, round_trip / 2);
            carry(far_reader, near_writer, round_trip / 2);
        }
    });
    address
}

/// Carries one direction, each piece as long after it came.
fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
}
