//! The gateway under measurement: a child process with a configuration of its own.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::event::Stamp;
use crate::http::Api;
use crate::token::Signer;

/// Path of the WebSocket and name of the group that all browsers share.
pub const PATH: &str = "/ws";
pub const GROUP: &str = "sala";

/// The variable that the configuration takes the secrets from, as deployments do.
const SECRET_VARIABLE: &str = "LOADTEST_SECRET";
const SECRET: &str = "only-for-measuring:nothing-is-kept-by-this-secret";

/// Time to stop in, once every browser is gone.
const STOP: Duration = Duration::from_secs(10);

/// Time to become ready in.
const READY: Duration = Duration::from_secs(10);

/// What of the configuration a scenario chooses.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program.
    pub program: PathBuf,
    /// `hub.shards`; 0 = one per core.
    pub shards: usize,
    /// `connections.ping`: browsers that don't read don't answer either.
    pub ping: &'static str,
    /// What carries publications.
    pub layer: Layer,
}

/// The layer of a gateway.
#[derive(Debug, Clone)]
pub enum Layer {
    /// Its own memory.
    Memory,
    /// A Redis; if it drains there what Django's channel layer sends, the capacity that Django has.
    Redis { url: String, channels: Option<u32> },
}

/// A running gateway. Dropped, it is killed.
pub struct Gateway {
    child: Child,
    directory: PathBuf,
    public: SocketAddr,
    api_address: SocketAddr,
    api: Api,
}

#[derive(Deserialize)]
struct Listening {
    public: SocketAddr,
    api: SocketAddr,
}

impl Gateway {
    /// Starts it and waits until it is ready.
    pub fn start(setup: &Setup) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (pid, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(format!("loadtest-{pid}-{number}"));
        fs::create_dir_all(&directory)?;
        let config = directory.join("gateway.toml");
        fs::write(&config, configuration(setup))?;
        let errors = directory.join("stderr.log");
        let mut child = Command::new(&setup.program)
            .args(["serve", "--config"])
            .arg(&config)
            .env(SECRET_VARIABLE, SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?)
            .spawn()
            .map_err(|e| {
                let program = setup.program.display();
                io::Error::other(format!(
                    "cannot start {program}: {e}; build it by cargo build --release, or name it \
                     by --gateway"
                ))
            })?;
        let listening = listening(&mut child).map_err(|error| {
            let _ = child.kill();
            let _ = child.wait();
            let said = fs::read_to_string(&errors).unwrap_or_default();
            let _ = fs::remove_dir_all(&directory);
            io::Error::other(format!("the gateway does not listen: {error}\n{said}"))
        })?;
        let api = Api::connect(listening.api, SECRET)?;
        let Listening { public, api: api_address } = listening;
        let mut gateway = Self { child, directory, public, api_address, api };
        gateway.ready()?;
        Ok(gateway)
    }

    /// Waits until publications get through: a gateway listens before its Redis has answered.
    fn ready(&mut self) -> io::Result<()> {
        let until = Instant::now() + READY;
        while let Err(error) = self.api.get("/readyz?strict") {
            if Instant::now() > until {
                return Err(io::Error::other(format!("not ready within {READY:?}: {error}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where browsers connect.
    pub fn address(&self) -> SocketAddr {
        self.public
    }

    /// One more connection to its API.
    pub fn api(&self) -> io::Result<Api> {
        Api::connect(self.api_address, SECRET)
    }

    /// Publishes one event, or several by one batch.
    pub fn publish(&mut self, stamps: &[Stamp], bytes: usize) -> io::Result<()> {
        if let [stamp] = stamps {
            return self.api.publish(&format!("/groups/{GROUP}/send"), &stamp.json(bytes));
        }
        let events: Vec<_> = stamps.iter().map(|stamp| (GROUP, stamp.json(bytes))).collect();
        self.api.publish_batch(&events)
    }

    /// The page of metrics.
    pub fn metrics(&mut self) -> io::Result<String> {
        self.api.get("/metrics")
    }

    /// Stops it by SIGTERM; anything but a clean exit is an error.
    pub fn stop(mut self) -> io::Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        let until = Instant::now() + STOP;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return match status.success() {
                    true => Ok(()),
                    false => Err(io::Error::other(format!("the gateway ended with {status}"))),
                };
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other(format!("the gateway did not stop within {STOP:?}")))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Makes tokens that the gateway accepts, `bytes` long.
pub fn signer(bytes: usize) -> Signer {
    Signer::new(SECRET, bytes)
}

/// The program beside which this one was built.
pub fn default_program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/groupcast")
}

/// The group of its own that browser `index` is in.
pub fn private_group(index: usize) -> String {
    format!("usuario_{}", browser(index))
}

/// `sub` of browser `index`.
pub fn browser(index: usize) -> String {
    format!("u{index:05}")
}

/// Everything that is not named stays at the default that users run with.
fn configuration(Setup { shards, ping, layer, .. }: &Setup) -> String {
    let layer = match layer {
        Layer::Memory => String::new(),
        Layer::Redis { url, channels } => {
            let channels = channels.map_or(String::new(), |capacity| {
                format!("[channels]\nreceive = [\"core\"]\ncapacity = {capacity}\n")
            });
            format!("[layer]\nkind = \"redis\"\nurl = \"{url}\"\n\n{channels}")
        }
    };
    format!(
        r#"
[listen]
public = "127.0.0.1:0"
api = "127.0.0.1:0"

[connections]
ping = "{ping}"

[hub]
shards = {shards}

{layer}
[[auth.key]]
algorithm = "HS256"
secret_env = "{SECRET_VARIABLE}"

[[api.key]]
name = "loadtest"
secret_env = "{SECRET_VARIABLE}"
groups = ["*"]
allow = ["send", "read"]

[[route]]
path = "{PATH}"
join = ["usuario_{{sub}}", "{GROUP}"]

[log]
format = "json"
"#
    )
}

/// Reads stdout up to the line with the addresses; what follows is read away by a thread.
fn listening(child: &mut Child) -> io::Result<Listening> {
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
    let mut lines = BufReader::new(stdout).lines();
    let first = lines.next().unwrap_or_else(|| Err(io::Error::other("it ended at once")))?;
    let listening = serde_json::from_str(&first)
        .map_err(|e| io::Error::other(format!("first line of its log: {first}: {e}")))?;
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains("\"ERROR\"") || line.contains("\"WARN\"") {
                eprintln!("gateway: {line}");
            }
        }
    });
    Ok(listening)
}
