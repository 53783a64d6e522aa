//! What the gateway needs of this machine: file descriptors, a listen backlog, two ports.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use super::Finding;
use crate::config::Config;
use crate::http::LISTEN_BACKLOG;
use crate::server::Descriptors;

/// WebSockets below which a limit is probably a default and not a decision.
const FEW: usize = 10_000;

/// Longest wait for a gateway that may be running already.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) => findings.push(descriptors(
            hard,
            config.server.max_connections,
            config.server.max_handshakes,
        )),
        Err(error) => findings.push(Finding::warn("file descriptors", error.to_string(), "")),
    }
    // Missing in some containers; then it stays unknown.
    if let Ok(text) = fs::read_to_string("/proc/sys/net/core/somaxconn")
        && let Ok(limit) = text.trim().parse()
    {
        findings.push(backlog(limit));
    }
    findings.extend(ports(config.server.public, config.api.address));
    findings
}

fn descriptors(hard: u64, wanted: usize, handshakes: usize) -> Finding {
    let room = Descriptors::within(hard, handshakes).sockets;
    let found = format!("{hard}, room for {room} WebSockets");
    let advice =
        "raise the hard limit: LimitNOFILE=1048576 (systemd), --ulimit nofile=1048576 (docker)";
    if wanted > room {
        let found = format!("{found}; connections.max is {wanted}");
        return Finding::fail("file descriptors", found, advice);
    }
    if wanted == 0 && room < FEW {
        return Finding::warn("file descriptors", found, advice);
    }
    Finding::ok("file descriptors", found)
}

fn backlog(limit: i32) -> Finding {
    if limit >= LISTEN_BACKLOG {
        return Finding::ok("somaxconn", limit.to_string());
    }
    let found = format!("{limit}, less than the {LISTEN_BACKLOG} asked for");
    let advice = format!(
        "sysctl -w net.core.somaxconn={LISTEN_BACKLOG}: a wave of reconnections overflows a \
         shorter queue"
    );
    Finding::warn("somaxconn", found, advice)
}

fn ports(public: SocketAddr, api: SocketAddr) -> [Finding; 2] {
    let (browsers, back_ends) = (TcpListener::bind(public), TcpListener::bind(api));
    [
        port("listen.public", public, browsers.map(drop), "/client/v1/groupcast.js"),
        port("listen.api", api, back_ends.map(drop), "/healthz"),
    ]
}

/// `known` is a path that a gateway answers there.
fn port(key: &'static str, address: SocketAddr, bound: io::Result<()>, known: &str) -> Finding {
    let error = match bound {
        Ok(()) => return Finding::ok(key, format!("{address} is free")),
        Err(error) => error,
    };
    let found = format!("{address}: {error}");
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse if answers(address, known) => {
            return Finding::ok(key, format!("{address} is in use by a running gateway"));
        }
        io::ErrorKind::AddrInUse => format!("stop what listens there (ss -ltnp), or change {key}"),
        io::ErrorKind::AddrNotAvailable => {
            format!("no interface of this machine has that address; 0.0.0.0 in {key} means all")
        }
        io::ErrorKind::PermissionDenied => format!(
            "choose a port from 1024 on in {key}, or AmbientCapabilities=CAP_NET_BIND_SERVICE \
             (systemd)"
        ),
        _ => format!("change {key}"),
    };
    Finding::fail(key, found, advice)
}

/// Whether what listens there answers 200.
fn answers(mut address: SocketAddr, path: &str) -> bool {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT)?;
        stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok::<_, io::Error>(head)
    };
    ask().is_ok_and(|head| head == *b"HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn judges_descriptors_by_the_configured_connections() {
        assert_eq!(descriptors(1_048_576, 0, 1024).level, Level::Ok);
        assert_eq!(descriptors(1024, 0, 1024).level, Level::Warn);
        assert_eq!(descriptors(1024, 500, 1024).level, Level::Ok);
        assert_eq!(descriptors(1024, 20_000, 1024).level, Level::Fail);
    }

    #[test]
    fn warns_of_a_backlog_shorter_than_asked_for() {
        assert_eq!(backlog(LISTEN_BACKLOG).level, Level::Ok);
        assert_eq!(backlog(128).level, Level::Warn);
    }

    #[test]
    fn advises_by_the_error_of_a_port() {
        let address = "127.0.0.1:80".parse().unwrap();
        for (kind, word) in [
            (io::ErrorKind::PermissionDenied, "1024"),
            (io::ErrorKind::AddrNotAvailable, "0.0.0.0"),
        ] {
            let finding = port("listen.public", address, Err(kind.into()), "/");
            assert_eq!(finding.level, Level::Fail);
            assert!(finding.advice.contains(word), "{}", finding.advice);
        }
    }
}
