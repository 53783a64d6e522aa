//! The bytes under a connection: TCP, or TLS over it. Made here and handed to lapin, whose own TLS
//! would bring another provider of cryptography.

use std::future::ready;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{self, Context, Poll};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use futures_util::io::{AsyncRead, AsyncWrite};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use parking_lot::Mutex;
use tokio::io::{AsyncRead as TokioRead, AsyncWrite as TokioWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{AmqpAddress, AmqpError};
use crate::tls::{self, ServerName};

/// What lapin reads from and writes to.
trait Bytes: TokioRead + TokioWrite + Send + Unpin {}

impl<T: TokioRead + TokioWrite + Send + Unpin> Bytes for T {}

/// A stream in the form that lapin wants.
pub(super) struct BrokerStream(Box<dyn Bytes>);

/// The runtime of a connection: tokio, with streams of this kind.
#[derive(Debug, Clone)]
struct BrokerRuntime(Tokio);

/// Connects, and speaks TLS if the address says so. The files of certificates are read anew.
async fn dial(address: &AmqpAddress) -> Result<BrokerStream, AmqpError> {
    let (host, port) = address.authority();
    let unreachable = |error: io::Error| AmqpError::Unreachable(error.to_string());
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let Some(settings) = address.tls().cloned() else {
        return Ok(BrokerStream(Box::new(stream)));
    };
    let untrusted = |error: &dyn ToString| AmqpError::Tls(error.to_string());
    let name = settings.server_name.clone().unwrap_or(host);
    let name = ServerName::try_from(name).map_err(|error| untrusted(&error))?;
    let read = tokio::task::spawn_blocking(move || tls::connector(&settings)).await;
    let connector = read.map_err(|error| untrusted(&error))?.map_err(|error| untrusted(&error))?;
    let stream = connector.connect(name, stream).await.map_err(|error| untrusted(&error))?;
    Ok(BrokerStream(Box::new(stream)))
}

/// Connects, and speaks AMQP.
pub(super) async fn open(
    address: &AmqpAddress,
    properties: ConnectionProperties,
) -> Result<Connection, AmqpError> {
    // Handed over once: lapin has no second try.
    let stream = Mutex::new(Some(dial(address).await?));
    let runtime = Runtime::new(BrokerRuntime(Tokio::current()));
    let take = async move |_: AMQPUri, _: Runtime<BrokerRuntime>| {
        let taken = stream.lock().take();
        let none = || lapin::Error::from(io::Error::other("no second try"));
        taken.map(AsyncTcpStream::Plain).ok_or_else(none)
    };
    Ok(Connection::connector(address.uri(), runtime, take, properties).await?)
}

impl AsyncRead for BrokerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        task::ready!(TokioRead::poll_read(Pin::new(&mut self.0), context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for BrokerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        TokioWrite::poll_write(Pin::new(&mut self.0), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        TokioWrite::poll_flush(Pin::new(&mut self.0), context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        TokioWrite::poll_shutdown(Pin::new(&mut self.0), context)
    }
}

impl RuntimeKit for BrokerRuntime {}

impl Executor for BrokerRuntime {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for BrokerRuntime {
    type TcpStream = BrokerStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.0.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(time)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        ready(Err(io::Error::other("the connection is made beforehand")))
    }
}
