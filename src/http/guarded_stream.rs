//! A TCP stream that fails if a request's head is late or the response is not read in time.
//!
//! hyper limits the time for a head only together with the idle time before it, and does not limit
//! the time of writes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// The longest time for a head from its first byte, and for a peer not to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) head: Duration,
    pub(crate) write: Duration,
}

/// Counts starts and ends of requests: odd while one is in progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestCounter(Arc<AtomicU64>);

/// The stream under one HTTP connection.
#[derive(Debug)]
pub(crate) struct GuardedStream {
    stream: TcpStream,
    requests: RequestCounter,
    timeouts: Timeouts,
    /// Set by the first byte of a head, with the count at that moment.
    head: Option<(u64, Pin<Box<Sleep>>)>,
    write: Option<Pin<Box<Sleep>>>,
}

impl RequestCounter {
    /// To be called when a head is complete, and again when its response is ready.
    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl GuardedStream {
    pub(crate) fn new(stream: TcpStream, requests: RequestCounter, timeouts: Timeouts) -> Self {
        Self { stream, requests, timeouts, head: None, write: None }
    }

    /// The stream without its timeouts.
    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Fails if the current head is late.
    fn check_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let count = self.requests.count();
        match &mut self.head {
            Some((began, deadline)) if *began == count => {
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(timed_out("the request's head is late"))
            }
            _ => {
                self.head = None;
                Poll::Pending
            }
        }
    }

    /// Returns the result of a write. Fails if the peer has not read for too long.
    fn check_write(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.write = None;
            return outcome;
        }
        let timeout = self.timeouts.write;
        ready!(self.write.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
        Poll::Ready(Err(timed_out("the answer is not read")))
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        let count = self.requests.count();
        let between_requests = count.is_multiple_of(2);
        let read = outcome.is_ready() && buf.filled().len() > before;
        let is_new = self.head.as_ref().is_none_or(|(began, _)| *began != count);
        if read && between_requests && is_new {
            self.head = Some((count, Box::pin(sleep(self.timeouts.head))));
        }
        if outcome.is_pending()
            && let Poll::Ready(error) = self.check_head(cx)
        {
            return Poll::Ready(Err(error));
        }
        outcome
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check_write(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(60);

    async fn pair(timeouts: Timeouts) -> (GuardedStream, RequestCounter, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let requests = RequestCounter::default();
        (GuardedStream::new(stream, requests.clone(), timeouts), requests, client)
    }

    #[tokio::test]
    async fn closes_a_connection_whose_head_is_not_complete_in_time() {
        let (mut stream, _, mut client) = pair(Timeouts { head: SHORT, write: LONG }).await;
        client.write_all(b"GET").await.unwrap();
        let mut buffer = [0; 16];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
        let error = stream.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn sets_no_deadline_for_bodies_and_idle_time() {
        let (mut stream, requests, mut client) = pair(Timeouts { head: SHORT, write: LONG }).await;
        let mut buffer = [0; 16];
        client.write_all(b"head").await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
        requests.advance();
        let body = tokio::time::timeout(2 * SHORT, stream.read(&mut buffer)).await;
        assert!(body.is_err(), "the body may take its time");
        requests.advance();
        let idle = tokio::time::timeout(2 * SHORT, stream.read(&mut buffer)).await;
        assert!(idle.is_err(), "the next request has not begun");
    }

    #[tokio::test]
    async fn fails_a_response_that_is_not_read() {
        let (mut stream, _, client) = pair(Timeouts { head: LONG, write: SHORT }).await;
        let chunk = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = stream.write_all(&chunk).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
