//! One question to RabbitMQ's management API: what the protocol itself does not tell of a queue.

use std::io;
use std::time::Duration;

use data_encoding::BASE64;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::excerpt::excerpt;

/// Longest wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer: that about a queue has a few kilobytes.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Characters of an answer that an error shows.
const MAX_WORDS: usize = 120;

/// `http://[user[:password]@]host[:port]`. Never shown: it may hold a password.
#[derive(Clone)]
pub(crate) struct ManagementAddress {
    authority: String,
    credentials: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManagementError {
    /// Not an address of this kind.
    #[error("it is no http://[user[:password]@]host[:port]")]
    Address,
    /// It cannot be reached, or ends too soon.
    #[error("the management API cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// It does not answer within five seconds.
    #[error("the management API does not answer within {} s", TIMEOUT.as_secs())]
    Silent,
    /// It refuses.
    #[error("the management API answers {0:?}")]
    Refused(String),
}

/// What it tells of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManagedQueue {
    /// The name of the policy that applies, if one does.
    pub(crate) policy: Option<String>,
    /// After how many deliveries a message is a dead letter; `None` = the broker's default.
    pub(crate) delivery_limit: Option<u64>,
    /// The exchange of dead letters.
    pub(crate) dead_letter: Option<String>,
    pub(crate) unacknowledged: u64,
}

impl ManagementAddress {
    /// Reads an address. TLS is not offered: only a doctor asks.
    pub(crate) fn parse(text: &str) -> Result<Self, ManagementError> {
        let rest = text.strip_prefix("http://").ok_or(ManagementError::Address)?;
        let authority = rest.trim_end_matches('/');
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if host.is_empty() || host.contains(['/', ' ', '?']) {
            return Err(ManagementError::Address);
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { host.to_owned() } else { format!("{host}:15672") };
        let credentials = user.map(|user| {
            let plain = percent_decode_str(user).decode_utf8_lossy();
            BASE64.encode(plain.as_bytes())
        });
        Ok(Self { authority, credentials })
    }

    /// Asks about a queue.
    pub(crate) async fn queue(
        &self,
        vhost: &str,
        name: &str,
    ) -> Result<ManagedQueue, ManagementError> {
        let part = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let path = format!("/api/queues/{}/{}", part(vhost), part(name));
        let answer = timeout(TIMEOUT, self.get(&path)).await;
        let answer = answer.map_err(|_| ManagementError::Silent)??;
        let of = |key: &str| answer.get(key).cloned().unwrap_or(Value::Null);
        let (arguments, policy) = (of("arguments"), of("effective_policy_definition"));
        let limit = [&arguments["x-delivery-limit"], &policy["delivery-limit"]];
        let exchange = [&arguments["x-dead-letter-exchange"], &policy["dead-letter-exchange"]];
        Ok(ManagedQueue {
            policy: of("policy").as_str().filter(|name| !name.is_empty()).map(str::to_owned),
            // The smaller one applies.
            delivery_limit: limit.into_iter().filter_map(Value::as_u64).min(),
            dead_letter: exchange.into_iter().find_map(Value::as_str).map(str::to_owned),
            unacknowledged: of("messages_unacknowledged").as_u64().unwrap_or(0),
        })
    }

    /// By HTTP/1.0, whose answers are neither compressed nor in pieces.
    async fn get(&self, path: &str) -> Result<Value, ManagementError> {
        let mut stream = TcpStream::connect(&self.authority).await?;
        let authorization = match &self.credentials {
            Some(credentials) => format!("Authorization: Basic {credentials}\r\n"),
            None => String::new(),
        };
        let host = &self.authority;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let refused = || {
            let line = answer.lines().next().unwrap_or_default();
            ManagementError::Refused(excerpt(line, MAX_WORDS))
        };
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(refused)?;
        if head.split(' ').nth(1) != Some("200") {
            return Err(refused());
        }
        serde_json::from_str(body).map_err(|_| refused())
    }
}

impl std::fmt::Debug for ManagementAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_address_and_shows_no_password() {
        let read = |text| ManagementAddress::parse(text).map(|read| format!("{read:?}"));
        for (text, shown) in [
            ("http://rabbit", "http://rabbit:15672"),
            ("http://ana:p%40ss@rabbit:8080/", "http://rabbit:8080"),
            ("http://ana:x@[::1]:15672", "http://[::1]:15672"),
        ] {
            assert_eq!(read(text).unwrap(), shown);
        }
        for text in ["https://rabbit", "rabbit:15672", "http://", "http://a b", "http://h/path"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
