//! A keep-alive HTTP client of one connection, by hand: nothing between the clock and the socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A publisher waits this long for an answer before the run fails.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that rested longer is replaced before use: servers close idle ones after a time of
/// their own, and a request that meets the close can't be repeated without doubt.
const FRESH: Duration = Duration::from_secs(2);

/// One connection to the API at a time.
pub struct Api {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    key: String,
    used: Instant,
}

/// Status and body of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Api {
    /// Connects to `address`, with `key` as bearer.
    pub fn connect(address: SocketAddr, key: &str) -> io::Result<Self> {
        let key = key.to_owned();
        Ok(Self { stream: open(address)?, address, key, used: Instant::now() })
    }

    /// Posts JSON and waits for the answer, which must be 202.
    pub fn publish(&mut self, path: &str, json: &str) -> io::Result<()> {
        let answer = self.ask("POST", path, json)?;
        if answer.status == 202 {
            return Ok(());
        }
        let Answer { status, body } = answer;
        Err(io::Error::other(format!("POST {path} was answered with {status}: {body}")))
    }

    /// Posts events to groups, each a group and its event, with one request.
    pub fn publish_batch(&mut self, events: &[(impl AsRef<str>, String)]) -> io::Result<()> {
        let item = |(group, event): &(_, String)| {
            let group: &str = AsRef::as_ref(group);
            format!(r#"{{"groups":["{group}"],"event":{event}}}"#)
        };
        let items: Vec<_> = events.iter().map(item).collect();
        self.publish("/batch", &format!(r#"{{"publications":[{}]}}"#, items.join(",")))
    }

    /// Gets a page as text, which must be 200.
    pub fn get(&mut self, path: &str) -> io::Result<String> {
        let Answer { status, body } = self.ask("GET", path, "")?;
        match status {
            200 => Ok(body),
            _ => Err(io::Error::other(format!("GET {path} was answered with {status}: {body}"))),
        }
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        if self.used.elapsed() > FRESH {
            self.stream = open(self.address)?;
        }
        self.used = Instant::now();
        let Self { address, key, .. } = self;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        answer(&mut self.stream)
    }
}

fn open(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(BufReader::new(stream))
}

/// Reads one answer, whose length must be told or whose body must be chunked.
fn answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let malformed = |what: &str| io::Error::other(format!("malformed HTTP answer: {what}"));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| malformed(&format!("status line {line:?}")))?;
    let (mut length, mut chunked) = (0, false);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = value.trim().parse().map_err(|_| malformed("content-length"))?;
            }
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    loop {
        if chunked {
            line.clear();
            stream.read_line(&mut line)?;
            length = u64::from_str_radix(line.trim(), 16).map_err(|_| malformed("chunk"))?;
        }
        stream.by_ref().take(length).read_to_end(&mut body)?;
        if chunked {
            line.clear();
            stream.read_line(&mut line)?;
        }
        if !chunked || length == 0 {
            let body = String::from_utf8(body).map_err(|_| malformed("body is not UTF-8"))?;
            return Ok(Answer { status, body });
        }
    }
}

/// The sum of a metric over all its labels, in Prometheus' text; `None` if it is not there.
pub fn metric(page: &str, name: &str) -> Option<f64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with(['{', ' '])).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    values.fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_a_length_and_in_chunks_are_read_to_their_end_and_no_further() {
        let mut bytes: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n\
            HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        let mut next = || answer(&mut bytes).map(|a| (a.status, a.body)).unwrap();
        assert_eq!(next(), (202, "{}".to_owned()));
        assert_eq!(next(), (200, "abcd".to_owned()));
        assert_eq!(next(), (404, String::new()));
        assert!(answer(&mut &b"nonsense\r\n\r\n"[..]).is_err());
    }

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_over_its_namesakes() {
        let page = "# HELP drops x\ndrops{reason=\"a\"} 2\ndrops{reason=\"b\"} 3\ndrops_other 9\n";
        assert_eq!(metric(page, "drops"), Some(5.0));
        assert_eq!(metric(page, "drops_other"), Some(9.0));
        assert_eq!(metric(page, "none"), None);
    }
}
