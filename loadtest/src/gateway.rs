//! The gateway under measurement: a child process with its own configuration.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use groupcast::identity::{self, KeySettings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::json;

use crate::http::Api;

/// Path of the WebSocket and name of the group that all browsers share.
pub const PATH: &str = "/ws";
pub const GROUP: &str = "sala";

/// The variable that the configuration takes the secrets from, as deployments do.
const SECRET_VARIABLE: &str = "LOADTEST_SECRET";
const SECRET: &str = "only-for-measuring:nothing-is-kept-by-this-secret";

/// Lifetime of a token: longer than any run.
const TOKEN_SECONDS: u64 = 6 * 3600;

/// The longest time to become ready, and to stop once every browser has disconnected.
const PATIENCE: Duration = Duration::from_secs(10);

/// The program, and the part of its configuration that a scenario chooses.
#[derive(Clone)]
pub struct Setup {
    pub program: PathBuf,
    /// `hub.shards`; 0 = one per core.
    pub shards: usize,
    /// `connections.ping`: browsers that don't read don't answer either.
    pub ping: &'static str,
    pub layer: Layer,
}

#[derive(Clone)]
pub enum Layer {
    Memory,
    /// A Redis; if it drains there what Django's channel layer sends, the capacity that Django has.
    Redis {
        url: String,
        channels: Option<u32>,
    },
}

/// A running gateway. Dropped, it is killed.
pub struct Gateway {
    process: Process,
    listening: Listening,
    /// A connection to its API.
    pub api: Api,
}

struct Process {
    child: Child,
    folder: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The first line of its log.
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
        let folder = std::env::temp_dir().join(format!("loadtest-{pid}-{number}"));
        fs::create_dir_all(&folder)?;
        let config = folder.join("gateway.toml");
        fs::write(&config, configuration(setup))?;
        let mut command = Command::new(&setup.program);
        command.args(["serve", "--config"]).arg(&config).env(SECRET_VARIABLE, SECRET);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| {
                let program = setup.program.display();
                let advice = "build it by cargo build --release, or name it by --gateway";
                io::Error::other(format!("cannot start {program}: {error}; {advice}"))
            })?;
        let mut process = Process { child, folder };
        let listening = listening(&mut process.child)?;
        let mut api = Api::connect(listening.api, SECRET)?;
        // A gateway listens before its Redis has answered.
        retry(|| api.get("/readyz?strict"))?;
        Ok(Self { process, listening, api })
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.public
    }

    /// One more connection to its API.
    pub fn api(&self) -> io::Result<Api> {
        Api::connect(self.listening.api, SECRET)
    }

    /// Stops it by SIGTERM; anything but a clean exit is an error.
    pub fn stop(mut self) -> io::Result<()> {
        kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM)?;
        let running = || io::Error::other("the gateway has not stopped");
        let status = retry(|| self.process.child.try_wait()?.ok_or_else(running))?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("the gateway ended with {status}"))),
        }
    }
}

/// Asks `attempt` every 10 ms until it succeeds; after [`PATIENCE`], its last error.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
            Err(error) => return Err(io::Error::other(format!("after {PATIENCE:?}: {error}"))),
            done => return done,
        }
    }
}

/// A token of `sub` that the gateway accepts, padded to `bytes` or 3 less: base64 goes in steps.
pub fn token(sub: &str, bytes: usize) -> io::Result<String> {
    let pad = bytes.saturating_sub(sign(sub, "")?.len()) / 4 * 3;
    sign(sub, &"p".repeat(pad))
}

fn sign(sub: &str, pad: &str) -> io::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let material = SECRET.as_bytes().to_vec();
    let key = KeySettings { id: String::new(), algorithm: "HS256".to_owned(), material };
    let claims = json!({ "sub": sub, "exp": now.as_secs() + TOKEN_SECONDS, "pad": pad });
    identity::sign(&key, &claims).map_err(io::Error::other)
}

/// The gateway built next to this program.
pub fn default_program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/groupcast")
}

/// The private group of browser `index`.
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

/// Reads stdout up to the line with the addresses; a thread discards the rest.
fn listening(child: &mut Child) -> io::Result<Listening> {
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
    let mut lines = BufReader::new(stdout).lines();
    let first =
        lines.next().unwrap_or_else(|| Err(io::Error::other("the gateway ended immediately")))?;
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

#[test]
fn makes_tokens_of_the_requested_length() {
    assert!((1021..=1024).contains(&token("u00042", 1024).unwrap().len()));
    assert!(token("u00042", 0).unwrap().len() < 256);
}
