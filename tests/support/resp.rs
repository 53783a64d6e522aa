//! As much of Redis' protocol (RESP2 and RESP3) as a test or a measurement needs, on one socket.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer that takes longer fails the run.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Simple(String),
    /// `-ERR …`: of a command within a transaction or of one whose failure is expected.
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    /// Arrays and sets; maps as keys and values in turn.
    Array(Vec<Reply>),
    Null,
}

impl Reply {
    /// The number it is.
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
        io::Error::other(format!("Redis answers with {self:?}"))
    }
}

/// A connection to a server.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Opens one, and sends nothing.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Writes commands as they were put together by [`command`], with one call.
    pub(crate) fn write(&mut self, commands: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(commands)
    }

    /// The next answer, even an error.
    pub(crate) fn read(&mut self) -> io::Result<Reply> {
        read(&mut self.stream)
    }

    /// The next answer, which must not be an error.
    pub(crate) fn read_accepted(&mut self) -> io::Result<Reply> {
        match self.read()? {
            Reply::Error(text) => Err(io::Error::other(format!("Redis: {text}"))),
            accepted => Ok(accepted),
        }
    }

    /// One command and its answer.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        command(&mut bytes, words);
        self.write(&bytes)?;
        self.read_accepted()
    }
}

/// Adds a command of `words` to `out`.
pub(crate) fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let unexpected = || io::Error::other(format!("Redis answers with {line:?}"));
    let kind = line.chars().next().ok_or_else(|| io::Error::other("Redis has hung up"))?;
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
fn answers_of_every_kind_are_read_to_their_end_and_no_further() {
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
    assert!(read(&mut bytes).is_err(), "the end is no answer");
    assert!(read(&mut &b"?\r\n"[..]).is_err());
}
