//! The part of Redis' protocol (RESP2 and RESP3) that tests and measurements need.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply that takes longer fails the run.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Simple(String),
    /// `-ERR …`: of a command in a transaction, or of one that is expected to fail.
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    /// Arrays and sets; maps as alternating keys and values.
    Array(Vec<Reply>),
    Null,
}

impl Reply {
    /// The number of an integer reply.
    pub(crate) fn integer(self) -> io::Result<i64> {
        match self {
            Self::Integer(number) => Ok(number),
            other => Err(other.unexpected()),
        }
    }

    /// The texts of an array.
    pub(crate) fn texts(self) -> io::Result<Vec<String>> {
        let Self::Array(items) = self else { return Err(self.unexpected()) };
        let text = |item| match item {
            Self::Bulk(bytes) => String::from_utf8(bytes).map_err(io::Error::other),
            other => Err(other.unexpected()),
        };
        items.into_iter().map(text).collect()
    }

    fn unexpected(&self) -> io::Error {
        io::Error::other(format!("unexpected reply from Redis: {self:?}"))
    }
}

/// A connection to a server.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Opens a connection and sends nothing.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Writes commands built by [`command`], with one system call.
    pub(crate) fn write(&mut self, commands: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(commands)
    }

    /// The next reply, which may be an error.
    pub(crate) fn read(&mut self) -> io::Result<Reply> {
        read(&mut self.stream)
    }

    /// The next reply, which must not be an error.
    pub(crate) fn read_accepted(&mut self) -> io::Result<Reply> {
        match self.read()? {
            Reply::Error(text) => Err(io::Error::other(format!("Redis: {text}"))),
            accepted => Ok(accepted),
        }
    }

    /// Sends one command. Returns its reply.
    pub(crate) fn ask(&mut self, arguments: &[&[u8]]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        command(&mut bytes, arguments);
        self.write(&bytes)?;
        self.read_accepted()
    }
}

/// Appends a command with these arguments to `out`.
pub(crate) fn command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let unexpected = || io::Error::other(format!("unexpected reply from Redis: {line:?}"));
    let kind =
        line.chars().next().ok_or_else(|| io::Error::other("Redis closed the connection"))?;
    let rest = line[kind.len_utf8()..].strip_suffix("\r\n").ok_or_else(unexpected)?;
    let number = || rest.parse::<i64>().map_err(|_| unexpected());
    match kind {
        '+' => Ok(Reply::Simple(rest.to_owned())),
        '-' => Ok(Reply::Error(rest.to_owned())),
        ':' => number().map(Reply::Integer),
        '_' => Ok(Reply::Null),
        '$' | '=' | '*' | '~' | '%' => match (kind, usize::try_from(number()?)) {
            (_, Err(_)) => Ok(Reply::Null),
            ('$' | '=', Ok(length)) => {
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Ok(Reply::Bulk(bytes))
            }
            (_, Ok(count)) => {
                let count = if kind == '%' { 2 * count } else { count };
                let items = (0..count).map(|_| read(stream));
                items.collect::<io::Result<_>>().map(Reply::Array)
            }
        },
        _ => Err(unexpected()),
    }
}

#[test]
fn reads_each_kind_of_reply_to_its_end_and_no_further() {
    let mut bytes: &[u8] = b"+OK\r\n-ERR no\r\n:-3\r\n$2\r\n\r\n\r\n$-1\r\n_\r\n*2\r\n:1\r\n\
        %1\r\n+a\r\n$1\r\nb\r\n*-1\r\n";
    let bulk = |bytes: &[u8]| Reply::Bulk(bytes.to_vec());
    let map = Reply::Array(vec![Reply::Simple("a".into()), bulk(b"b")]);
    for expected in [
        Reply::Simple("OK".into()),
        Reply::Error("ERR no".into()),
        Reply::Integer(-3),
        bulk(b"\r\n"),
        Reply::Null,
        Reply::Null,
        Reply::Array(vec![Reply::Integer(1), map]),
        Reply::Null,
    ] {
        assert_eq!(read(&mut bytes).unwrap(), expected);
    }
    assert!(read(&mut bytes).is_err(), "the input has ended");
    assert!(read(&mut &b"?\r\n"[..]).is_err());
}
