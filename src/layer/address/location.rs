//! Where connections lead.

use std::fmt;
use std::path::PathBuf;

use super::sentinels::Sentinels;

/// Where connections lead.
#[derive(Clone, PartialEq)]
pub(in crate::layer) enum Location {
    /// A host, whose name is looked up at each connection, and a port.
    Host(String, u16),
    /// A socket of this machine.
    Socket(PathBuf),
    /// Where sentinels say that the primary is, at each connection.
    Sentinels(Sentinels),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host, port) => f.write_str(&host_and_port(host, *port)),
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Sentinels(Sentinels { nodes, service, .. }) => {
                let nodes: Vec<_> =
                    nodes.iter().map(|(host, port)| host_and_port(host, *port)).collect();
                write!(f, "{service} of the sentinels {}", nodes.join(", "))
            }
        }
    }
}

fn host_and_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
