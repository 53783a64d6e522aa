//! A socket between its handshake and its shard: the hello is read here, refusals are told here.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::event::Position;
use crate::frame::Frame;
use crate::protocol::{ClientFrame, Disconnect, parse};
use crate::socket::{Decoder, Inbound};

/// Time for a refused client to take its close frame and end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes of one read while waiting for the hello.
const READ: usize = 4096;

/// What a hello says. Its token is forgotten with it.
#[derive(Default)]
pub(super) struct ParsedHello {
    pub(super) token: Option<String>,
    pub(super) since: Vec<(String, Position)>,
}

/// The socket, and the input that is not used up.
pub(super) struct PreSession {
    stream: TcpStream,
    leftover: Vec<u8>,
    decoder: Decoder,
}

impl PreSession {
    pub(super) fn new(stream: TcpStream, leftover: Vec<u8>, max_message: usize) -> Self {
        Self { stream, leftover, decoder: Decoder::new(max_message) }
    }

    /// Waits for the hello, which must come first; `Err(None)` = the peer has gone.
    ///
    /// Decoded here, so that what a large token makes grow ends with the session.
    pub(super) async fn hello(&mut self) -> Result<ParsedHello, Option<Disconnect>> {
        let mut input = std::mem::take(&mut self.leftover);
        loop {
            let mut rest = input.as_mut_slice();
            while let Some(inbound) = self.decoder.decode(&mut rest)? {
                match inbound {
                    Inbound::Text(text) => {
                        let hello = hello(&text)?;
                        self.leftover = rest.to_vec();
                        return Ok(hello);
                    }
                    Inbound::Ping(payload) => {
                        let pong = Frame::pong(&payload);
                        self.stream.write_all(pong.bytes()).await.map_err(|_| None)?;
                    }
                    Inbound::Pong => {}
                    Inbound::Close(code) => {
                        let echo =
                            code.map_or_else(Frame::close_empty, |code| Frame::close(code, ""));
                        // The peer has what it wanted, or has gone already.
                        let _ = self.stream.write_all(echo.bytes()).await;
                        return Err(None);
                    }
                }
            }
            input.resize(READ, 0);
            match self.stream.read(&mut input).await {
                Ok(0) | Err(_) => return Err(None),
                Ok(length) => input.truncate(length),
            }
        }
    }

    /// Hands the socket on.
    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.leftover)
    }

    /// Says why and ends. Reads on until the peer ends too: closing with unread input would reset
    /// the connection, and the reason with it.
    pub(super) async fn close(mut self, frame: Frame) {
        let farewell = async {
            self.stream.write_all(frame.bytes()).await?;
            self.stream.shutdown().await?;
            let mut discarded = [0; 1024];
            while self.stream.read(&mut discarded).await? > 0 {}
            std::io::Result::Ok(())
        };
        // Whether the peer listens is its own affair.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

fn hello(text: &str) -> Result<ParsedHello, Disconnect> {
    let Ok(ClientFrame::Hello { token, since, .. }) = parse(text) else {
        return Err(Disconnect::BAD_FRAME.because("hello must come first"));
    };
    let since = since.into_iter().filter_map(|entry| {
        let (epoch, offset) = entry.since?;
        Some((entry.group.into_owned(), Position { epoch: (&*epoch).into(), offset }))
    });
    Ok(ParsedHello { token: token.map(Into::into), since: since.collect() })
}
