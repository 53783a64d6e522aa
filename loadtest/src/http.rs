//! A keep-alive HTTP client of one connection: nothing between the clock and the socket.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A publisher waits this long for an answer before the run fails.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was idle longer is replaced before use: servers close idle ones after a time
/// of their own, and a request that meets the close can't be repeated without doubt.
const FRESH: Duration = Duration::from_secs(2);

/// One connection to the API at a time.
pub struct Api {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    key: String,
    used: Instant,
}

impl Api {
    /// Connects to `address`, with `key` as bearer.
    pub fn connect(address: SocketAddr, key: &str) -> io::Result<Self> {
        let key = key.to_owned();
        Ok(Self { stream: open(address)?, address, key, used: Instant::now() })
    }

    /// Publishes events, each a group and its JSON, by one request.
    pub fn publish(&mut self, events: &[(&str, String)]) -> io::Result<()> {
        if let [(group, json)] = events {
            return self.request("POST", &format!("/groups/{group}/send"), json, 202).map(drop);
        }
        let item =
            |(group, json): &(&str, String)| format!(r#"{{"groups":["{group}"],"event":{json}}}"#);
        let items: Vec<_> = events.iter().map(item).collect();
        let body = format!(r#"{{"publications":[{}]}}"#, items.join(","));
        self.request("POST", "/batch", &body, 202).map(drop)
    }

    /// Gets a page as text, which must be 200.
    pub fn get(&mut self, path: &str) -> io::Result<String> {
        self.request("GET", path, "", 200)
    }

    fn request(&mut self, method: &str, path: &str, body: &str, wanted: u16) -> io::Result<String> {
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
        match read_answer(&mut self.stream)? {
            (status, body) if status == wanted => Ok(body),
            (status, body) => Err(io::Error::other(format!("{method} {path}: {status} {body}"))),
        }
    }
}

fn open(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(BufReader::new(stream))
}

/// Reads status and body of one answer, which must state its length.
fn read_answer(stream: &mut impl BufRead) -> io::Result<(u16, String)> {
    let malformed = |what: &str| io::Error::other(format!("malformed HTTP answer: {what}"));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| malformed(&format!("status line {line:?}")))?;
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = vec![0; length.ok_or_else(|| malformed("no content-length"))?];
    stream.read_exact(&mut body)?;
    String::from_utf8(body).map(|body| (status, body)).map_err(|_| malformed("body is not UTF-8"))
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
    fn reads_each_response_to_its_end_and_no_further() {
        let mut bytes: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}\
            HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(read_answer(&mut bytes).unwrap(), (202, "{}".to_owned()));
        assert_eq!(read_answer(&mut bytes).unwrap(), (404, String::new()));
        assert!(read_answer(&mut &b"nonsense\r\n\r\n"[..]).is_err());
    }

    #[test]
    fn sums_a_metric_over_its_labels_but_not_over_longer_names() {
        let page = "# HELP drops x\ndrops{reason=\"a\"} 2\ndrops{reason=\"b\"} 3\ndrops_other 9\n";
        assert_eq!(metric(page, "drops"), Some(5.0));
        assert_eq!(metric(page, "drops_other"), Some(9.0));
        assert_eq!(metric(page, "none"), None);
    }
}
