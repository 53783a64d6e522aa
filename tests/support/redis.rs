//! A Redis of one's own: on a free port, in a folder of its own, ended with the value.

#[path = "ports.rs"]
pub(crate) mod ports;

#[allow(dead_code, reason = "the load test alone reads answers with it")]
#[path = "resp.rs"]
pub(crate) mod resp;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Time to start in.
const START: Duration = Duration::from_secs(10);

/// Writes survive the process without being synced, so a busy disk delays no test.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "no"];

/// A server that may be ended and started again where it was.
pub(crate) struct RedisServer {
    address: SocketAddr,
    /// Folder of its data.
    pub(crate) folder: PathBuf,
    options: Vec<String>,
    /// The file of a sentinel, which writes to it.
    file: Option<PathBuf>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one that keeps what is written, and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&DURABLE).unwrap()
    }

    /// Starts one with these options, and waits until it answers.
    pub(crate) fn start_with(options: &[&str]) -> io::Result<Self> {
        Self::start_as(None, options)
    }

    /// Starts a sentinel with this configuration, and waits until it answers.
    #[allow(dead_code, reason = "for the tests of the gateway")]
    pub(crate) fn sentinel(configuration: &str) -> io::Result<Self> {
        Self::start_as(Some(configuration), &[])
    }

    fn start_as(sentinel: Option<&str>, options: &[&str]) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("groupcast-redis-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_port()));
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { address, folder, options, file: None, child: None };
        if let Some(text) = sentinel {
            let file = server.folder.join("sentinel.conf");
            fs::write(&file, text)?;
            server.options.push("--sentinel".to_owned());
            server.file = Some(file);
        }
        server.launch()?;
        Ok(server)
    }

    /// Starts it on the same port with what its folder holds.
    pub(crate) fn start_again(&mut self) {
        self.launch().unwrap();
    }

    fn launch(&mut self) -> io::Result<()> {
        let child = Command::new(program())
            .args(&self.file)
            .args(["--port", &self.address.port().to_string(), "--bind", "127.0.0.1"])
            // No snapshots: a fork would be measured as Redis' own work.
            .args(["--save", ""])
            .arg("--dir")
            .arg(&self.folder)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| io::Error::other(format!("cannot start {}: {e}", program())))?;
        self.child = Some(child);
        let deadline = Instant::now() + START;
        while self.ask(&["PING"]) != "+PONG\r\n" {
            if let Some(status) = self.child.as_mut().map_or(Ok(None), Child::try_wait)? {
                return Err(io::Error::other(format!("redis-server ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("redis-server does not answer"));
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it is running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Deletes its data; it must not be running.
    pub(crate) fn wipe(&self) {
        assert!(self.child.is_none(), "it is running");
        fs::remove_dir_all(&self.folder).unwrap();
        fs::create_dir_all(&self.folder).unwrap();
    }

    /// Its process, while it is running.
    #[allow(dead_code, reason = "for the load test")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    #[allow(dead_code, reason = "for the load test")]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as configurations name it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// One command on a connection of its own; the answer as it came, or what came before the
    /// connection broke.
    pub(crate) fn ask(&self, words: &[impl AsRef<[u8]>]) -> String {
        ask(self.address, words, self.file.is_some())
    }
}

/// The server that the tests run: Debian's, or the one that `make redis-versions` names.
pub(crate) fn program() -> String {
    std::env::var("GROUPCAST_TESTS_REDIS").unwrap_or_else(|_| "redis-server".to_owned())
}

fn ask(address: SocketAddr, words: &[impl AsRef<[u8]>], is_sentinel: bool) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
    let mut request = Vec::new();
    resp::command(&mut request, &words);
    // Redis closes once it has answered. The end of what is sent would do so, too, but Redis drops
    // what came before it while it is paused. A sentinel does not know it.
    let (last, end): (&[u8], _) =
        if is_sentinel { (b"PING", "+PONG\r\n") } else { (b"QUIT", "+OK\r\n") };
    resp::command(&mut request, &[last]);
    let _ = stream.write_all(&request);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !(is_sentinel && answer.ends_with(end.as_bytes()))
        && let Ok(length @ 1..) = stream.read(&mut piece)
    {
        answer.extend_from_slice(&piece[..length]);
    }
    let answer = String::from_utf8_lossy(&answer);
    answer.strip_suffix(end).unwrap_or(&answer).to_owned()
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
