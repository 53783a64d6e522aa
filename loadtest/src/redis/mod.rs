//! Redis: a server of the run's own, a client by hand, and what Django's channel layer says to it.

pub mod bare;
pub mod group_send;
mod msgpack;
pub mod resp;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use resp::{Connection, Reply};

/// Time to start in.
const START: Duration = Duration::from_secs(10);

/// A running server, its data in memory and a folder of its own. Dropped, it is killed.
pub struct Server {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Server {
    /// Starts `redis-server` on a free port and waits until it answers.
    pub fn start() -> io::Result<Self> {
        // Free at this moment; nobody else asks for it by number.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let (pid, port) = (std::process::id(), address.port());
        let folder = std::env::temp_dir().join(format!("loadtest-redis-{pid}-{port}"));
        fs::create_dir_all(&folder)?;
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            // No snapshots: a fork in a window would be measured as Redis' own work.
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| io::Error::other(format!("cannot start redis-server: {e}")))?;
        let mut server = Self { child, folder, address };
        let until = Instant::now() + START;
        while server.connect().is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("redis-server ended with {status}")));
            }
            if Instant::now() > until {
                return Err(io::Error::other("redis-server does not answer"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as configurations name it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// A connection that has answered.
    pub fn connect(&self) -> io::Result<Connection> {
        let mut connection = Connection::open(self.address)?;
        connection.ask(&[b"PING"])?;
        Ok(connection)
    }

    /// Calls of each command so far, scripts' own calls included.
    pub fn commands(&self) -> io::Result<BTreeMap<String, u64>> {
        let Reply::Bulk(text) = self.connect()?.ask(&[b"INFO", b"commandstats"])? else {
            return Err(io::Error::other("INFO answers with something else than text"));
        };
        Ok(calls(&String::from_utf8_lossy(&text)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Reads lines such as `cmdstat_client|setname:calls=3,usec=8,…`.
fn calls(info: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let calls = figures.split(',').find_map(|figure| figure.strip_prefix("calls="))?;
        Some((name.to_owned(), calls.parse().ok()?))
    };
    info.lines().filter_map(line).collect()
}
