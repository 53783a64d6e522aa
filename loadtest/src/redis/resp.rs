//! As much of Redis' protocol (RESP2 and RESP3) as a measuring client needs, on one plain socket.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer that takes longer fails the run.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR …`: of a command within a transaction or of one whose failure is expected; others are errors.
    Refusal(String),
    Integer(i64),
    Bulk(Vec<u8>),
    /// Arrays and sets; maps as keys and values in turn.
    Array(Vec<Reply>),
    Null,
}

/// A connection to a server.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Opens one, silently.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Writes commands as they were put together by [`command`], with one call.
    pub fn write(&mut self, commands: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(commands)
    }

    /// The next answer, whatever it says.
    pub fn read(&mut self) -> io::Result<Reply> {
        read(&mut self.stream)
    }

    /// The next answer, which must not be a refusal.
    pub fn read_taken(&mut self) -> io::Result<Reply> {
        match self.read()? {
            Reply::Refusal(text) => Err(io::Error::other(format!("Redis refuses: {text}"))),
            taken => Ok(taken),
        }
    }

    /// One command and its answer.
    pub fn ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        command(&mut bytes, words);
        self.write(&bytes)?;
        self.read_taken()
    }
}

/// Adds a command of `words` to `out`.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    let malformed = |line: &[u8]| {
        let text = String::from_utf8_lossy(line);
        io::Error::new(io::ErrorKind::InvalidData, format!("Redis answers with {text:?}"))
    };
    let Some((kind, rest)) = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first) else {
        return Err(match line.is_empty() {
            true => io::Error::other("Redis closed the connection"),
            false => malformed(&line),
        });
    };
    let text = || String::from_utf8_lossy(rest).into_owned();
    let number = || text().parse::<i64>().map_err(|_| malformed(&line));
    match kind {
        b'+' => Ok(Reply::Simple(text())),
        b'-' => Ok(Reply::Refusal(text())),
        b':' => number().map(Reply::Integer),
        b'_' => Ok(Reply::Null),
        b'$' | b'=' => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Reply::Null) };
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(Reply::Bulk(bytes))
        }
        b'*' | b'~' | b'%' => {
            let each = if *kind == b'%' { 2 } else { 1 };
            let Ok(count) = usize::try_from(number()?) else { return Ok(Reply::Null) };
            (0..count * each).map(|_| read(stream)).collect::<io::Result<_>>().map(Reply::Array)
        }
        _ => Err(malformed(&line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_every_kind_are_read_to_their_end_and_no_further() {
        let mut bytes: &[u8] = b"+OK\r\n-ERR no\r\n:-3\r\n$2\r\n\r\n\r\n$-1\r\n_\r\n*2\r\n:1\r\n\
            %1\r\n+a\r\n$1\r\nb\r\n*-1\r\n";
        let bulk = |bytes: &[u8]| Reply::Bulk(bytes.to_vec());
        let map = Reply::Array(vec![Reply::Simple("a".into()), bulk(b"b")]);
        for expected in [
            Reply::Simple("OK".into()),
            Reply::Refusal("ERR no".into()),
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
}
