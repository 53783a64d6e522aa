//! One measuring browser: its handshake, its hello, and the account of what it received.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use groupcast::protocol;
use serde_json::Value;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::clients::Recorder;
use crate::event::Stamp;
use crate::gateway::PATH;

/// Bytes of one read: ten thousand browsers have a buffer each.
const READ_BUFFER: usize = 4096;

/// Receive buffer of browsers that stop reading: what sockets have before the kernel enlarges it,
/// which it does for good once one has caught up in a burst. Megabytes would hide the outbox.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// A browser that is a member of its groups.
pub struct Browser {
    index: usize,
    websocket: WebSocketStream<TcpStream>,
}

impl Browser {
    /// Connects to `address` and waits for the welcome.
    pub async fn connect(index: usize, address: SocketAddr, token: String) -> io::Result<Self> {
        let uri: Uri = format!("ws://{address}{PATH}").parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(protocol::V1);
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0);
        let connected = client_async_with_config(request, stream, Some(config)).await;
        let (websocket, _) = connected.map_err(|e| io::Error::other(format!("handshake: {e}")))?;
        let mut browser = Self { index, websocket };
        let hello = format!(r#"{{"type":"hello","token":"{token}","client":"loadtest/0.1"}}"#);
        browser.send(hello).await?;
        let welcome = browser.message().await?;
        let welcome: Value = serde_json::from_str(&welcome)?;
        let groups = welcome["groups"].as_array().map_or(&[][..], Vec::as_slice);
        let refused = groups.iter().any(|group| !group["error"].is_null());
        match welcome["type"] == "welcome" && !refused {
            true => Ok(browser),
            false => Err(io::Error::other(format!("not welcome: {welcome}"))),
        }
    }

    /// Receives until the connection is lost or `stalled` has no sender. The browsers below its
    /// number do not read.
    pub async fn receive(
        mut self,
        recorder: &Recorder,
        mut stalled: watch::Receiver<usize>,
    ) -> io::Result<()> {
        loop {
            if *stalled.borrow_and_update() > self.index {
                let socket = SockRef::from(self.websocket.get_ref());
                socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
                if stalled.wait_for(|count| *count <= self.index).await.is_err() {
                    return Ok(());
                }
            }
            let message = tokio::select! {
                biased;
                message = self.message() => message?,
                changed = stalled.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
            };
            match Stamp::find(message.as_bytes()) {
                Some(stamp) => recorder.event(self.index, stamp, &message, Instant::now()),
                None => self.handle(recorder, &message).await?,
            }
        }
    }

    /// The next message; pings are answered on the way.
    async fn message(&mut self) -> io::Result<Utf8Bytes> {
        loop {
            match self.websocket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Ping(_))) => {
                    self.websocket.flush().await.map_err(io::Error::other)?
                }
                other => return Err(io::Error::other(format!("connection lost: {other:?}"))),
            }
        }
    }

    /// Anything but a measured event: rare, so it may be parsed in full.
    async fn handle(&mut self, recorder: &Recorder, message: &str) -> io::Result<()> {
        let message: Value = serde_json::from_str(message)?;
        match message["type"].as_str() {
            Some("ping") => self.send(r#"{"type":"pong"}"#.to_owned()).await,
            Some("gap") => {
                recorder.gap(self.index, message["lost"].as_u64().unwrap_or(0));
                Ok(())
            }
            Some("error") => Err(io::Error::other(format!("the gateway answers {message}"))),
            _ => Ok(()),
        }
    }

    async fn send(&mut self, message: String) -> io::Result<()> {
        self.websocket.send(Message::text(message)).await.map_err(io::Error::other)
    }
}
