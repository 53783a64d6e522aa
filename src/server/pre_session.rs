//! A socket between its handshake and its shard: reads the hello, or sends the close frame.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::event::{ConnectionId, Position};
use crate::frame::Frame;
use crate::protocol::{ClientFrame, Disconnect, parse};
use crate::socket::{Decoder, Inbound};

/// Time for a refused client to read its close frame and disconnect.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Control frames allowed before the hello. Clients send their hello immediately; endless control
/// frames would only occupy a place.
const MAX_CONTROL_FRAMES: usize = 8;

/// Bytes of one read while waiting for the hello.
const READ: usize = 4096;

/// The content of a hello. The token is dropped with it.
#[derive(Default)]
pub(super) struct ParsedHello {
    pub(super) token: Option<String>,
    pub(super) previous: Option<ConnectionId>,
    pub(super) since: Vec<(String, Position)>,
}

/// Why there is no hello.
pub(super) enum HelloError {
    /// The peer sent something else.
    Invalid(Disconnect),
    /// The peer has closed or disconnected.
    Disconnected,
}

impl From<Disconnect> for HelloError {
    fn from(disconnect: Disconnect) -> Self {
        Self::Invalid(disconnect)
    }
}

/// The socket, and input read from it that is not used yet.
pub(super) struct PreSession {
    stream: TcpStream,
    leftover: Vec<u8>,
    decoder: Decoder,
}

impl PreSession {
    pub(super) fn new(stream: TcpStream, leftover: Vec<u8>, max_message: usize) -> Self {
        Self { stream, leftover, decoder: Decoder::new(max_message) }
    }

    /// Waits for the hello, which must come first.
    ///
    /// Decoded here, so that buffers grown by a large token are freed with the session.
    pub(super) async fn hello(&mut self) -> Result<ParsedHello, HelloError> {
        let mut input = std::mem::take(&mut self.leftover);
        let mut control_frames = 0;
        loop {
            let mut rest = input.as_mut_slice();
            while let Some(inbound) = self.decoder.decode(&mut rest)? {
                control_frames += usize::from(!matches!(inbound, Inbound::Text(_)));
                if control_frames > MAX_CONTROL_FRAMES {
                    let cause = "too many control frames before hello";
                    return Err(Disconnect::TOO_MANY.because(cause).into());
                }
                match inbound {
                    Inbound::Text(text) => {
                        let hello = hello(&text)?;
                        self.leftover = rest.to_vec();
                        return Ok(hello);
                    }
                    Inbound::Ping(payload) => {
                        let pong = Frame::pong(&payload);
                        self.stream
                            .write_all(pong.bytes())
                            .await
                            .map_err(|_| HelloError::Disconnected)?;
                    }
                    Inbound::Pong => {}
                    Inbound::Close(code) => {
                        let echo =
                            code.map_or_else(Frame::close_empty, |code| Frame::close(code, ""));
                        // Whether it arrives does not matter: the peer is closing.
                        let _ = self.stream.write_all(echo.bytes()).await;
                        return Err(HelloError::Disconnected);
                    }
                }
            }
            input.resize(READ, 0);
            match self.stream.read(&mut input).await {
                Ok(0) | Err(_) => return Err(HelloError::Disconnected),
                Ok(length) => input.truncate(length),
            }
        }
    }

    /// The socket and the unused input, for the shard.
    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.leftover)
    }

    /// Sends a close frame, then reads until the peer closes too: closing with unread input would
    /// reset the connection, and the close frame would be lost.
    pub(super) async fn close(mut self, frame: Frame) {
        let closing = async {
            self.stream.write_all(frame.bytes()).await?;
            self.stream.shutdown().await?;
            let mut discarded = [0; 1024];
            while self.stream.read(&mut discarded).await? > 0 {}
            std::io::Result::Ok(())
        };
        // A peer that does not read it only misses the reason.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}

fn hello(text: &str) -> Result<ParsedHello, Disconnect> {
    let Ok(ClientFrame::Hello { token, previous, since, .. }) = parse(text) else {
        return Err(Disconnect::BAD_FRAME.because("hello must come first"));
    };
    let since = since.into_iter().filter_map(|entry| {
        let (epoch, offset) = entry.since?;
        Some((entry.group.into_owned(), Position { epoch: (&*epoch).into(), offset }))
    });
    // Clients need not know what an id looks like: another text is the id of no connection.
    let previous = previous.and_then(|id| id.parse().ok());
    Ok(ParsedHello { token: token.map(Into::into), previous, since: since.collect() })
}
