//! Many v1 clients that reconnect whenever they lose their connection, each checked by an oracle.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{DeliveryOracle, Numbers, Received, SeededRandom, Socket, eventually, token};

/// The longest that connecting may take, and that a connection pinged each second may be silent.
const SILENCE: Duration = Duration::from_secs(3);

/// The longest pause between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// How long clients wait for missing events once everything was sent.
const DEADLINE: Duration = Duration::from_secs(30);

/// How many of its last frames a failing client prints.
const RECENT_FRAMES: usize = 12;

/// The last number of every sender, by group: what clients are to receive.
pub(crate) type Expected = BTreeMap<String, Numbers>;

/// The addresses of the instances, which change when one restarts.
pub(crate) type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

/// The clients. Each frame is checked as it arrives. Dropping the value stops them.
pub(crate) struct VirtualClients {
    shared: Shared,
    target: watch::Sender<Option<Target>>,
    clients: JoinSet<Result<DeliveryOracle, String>>,
    seed: u64,
    size: usize,
    round: u64,
}

/// What all clients share.
#[derive(Clone)]
struct Shared {
    addresses: Addresses,
    /// How many clients have been members of all their groups.
    joined: Arc<AtomicUsize>,
    /// How many clients have received the current target.
    completed: Arc<AtomicUsize>,
    targets: watch::Receiver<Option<Target>>,
}

/// What every client is to receive.
#[derive(Clone)]
struct Target {
    expected: Arc<Expected>,
    /// The number of this target. A client ends with the last one.
    round: u64,
    last: bool,
}

struct Client {
    name: String,
    groups: Vec<String>,
    shared: Shared,
    random: SeededRandom,
    oracle: DeliveryOracle,
    /// Its last frames.
    recent: VecDeque<Value>,
    /// Whether it has been a member of all its groups.
    joined: bool,
    /// The last round whose target it has received.
    completed: u64,
    /// Attempts to connect. The first goes to the instance of the client's own number.
    attempts: usize,
    number: usize,
}

impl VirtualClients {
    /// No clients yet; those added will connect to `addresses`.
    pub(crate) fn new(addresses: Vec<SocketAddr>, seed: u64) -> Self {
        let (target, watched) = watch::channel(None);
        let addresses = Arc::new(Mutex::new(addresses));
        let (joined, completed) = Default::default();
        let shared = Shared { addresses, joined, completed, targets: watched };
        Self { shared, target, clients: JoinSet::new(), seed, size: 0, round: 0 }
    }

    /// Adds a client that joins `groups`.
    pub(crate) fn add(&mut self, groups: &[&str]) {
        let number = self.size;
        self.size += 1;
        let mut client = Client {
            name: format!("cliente{number}"),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            shared: self.shared.clone(),
            random: SeededRandom::new(self.seed ^ (number as u64 + 1).wrapping_mul(0x9e37)),
            oracle: DeliveryOracle::default(),
            recent: VecDeque::new(),
            joined: false,
            completed: 0,
            attempts: 0,
            number,
        };
        let deadline = deadline(self.shared.targets.clone());
        self.clients.spawn(async move {
            let outcome = tokio::select! {
                outcome = client.run() => outcome,
                () = deadline => Err(format!("timed out; received so far: {}", client.progress())),
            };
            match outcome {
                Ok(()) => Ok(client.oracle),
                Err(error) => Err(format!("{}: {error}\n{}", client.name, client.report())),
            }
        });
    }

    /// Waits until all clients are members of their groups.
    pub(crate) async fn wait_until_joined(&mut self) {
        eventually("all clients to have joined", async || {
            self.check();
            self.shared.joined.load(Ordering::Relaxed) == self.size
        })
        .await;
    }

    /// The addresses that clients connect to.
    pub(crate) fn addresses(&self) -> Addresses {
        Arc::clone(&self.shared.addresses)
    }

    /// Gives the clients the new address of an instance.
    pub(crate) fn set_address(&self, index: usize, address: SocketAddr) {
        self.shared.addresses.lock().unwrap()[index] = address;
    }

    /// Fails if a client has received something wrong.
    pub(crate) fn check(&mut self) {
        while let Some(finished) = self.clients.try_join_next() {
            if let Err(error) = finished.unwrap() {
                panic!("{error}");
            }
        }
    }

    /// Waits until every client has what was sent last to its groups. They stay connected.
    pub(crate) async fn wait_until_received(&mut self, expected: Expected) {
        self.shared.completed.store(0, Ordering::Relaxed);
        self.set_target(expected, false);
        eventually("all clients to have received what was sent", async || {
            self.check();
            self.shared.completed.load(Ordering::Relaxed) == self.size
        })
        .await;
    }

    fn set_target(&mut self, expected: Expected, last: bool) {
        self.round += 1;
        self.target.send_replace(Some(Target {
            expected: Arc::new(expected),
            round: self.round,
            last,
        }));
    }

    /// Waits until every client has what was sent last to its groups, and stops them. Returns what
    /// each has received.
    pub(crate) async fn finish(mut self, expected: Expected) -> Vec<DeliveryOracle> {
        self.set_target(expected, true);
        let mut oracles = Vec::new();
        while let Some(finished) = self.clients.join_next().await {
            oracles.push(finished.unwrap().unwrap_or_else(|error| panic!("{error}")));
        }
        oracles
    }
}

/// Ends when the last target has been known for [`DEADLINE`].
async fn deadline(mut targets: watch::Receiver<Option<Target>>) {
    let _ = targets.wait_for(|target| target.as_ref().is_some_and(|target| target.last)).await;
    tokio::time::sleep(DEADLINE).await;
}

impl Client {
    /// Connects, receives and reconnects until the last target has been received.
    async fn run(&mut self) -> Result<(), String> {
        loop {
            if let Ok(Some(mut socket)) = timeout(SILENCE, self.connect()).await
                && self.listen(&mut socket).await?
            {
                return Ok(());
            }
            let pause = self.random.below(MAX_PAUSE.as_millis() as u64);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Opens a connection, waits for its welcome and asks to join the groups.
    async fn connect(&mut self) -> Option<Socket> {
        let address = {
            let addresses = self.shared.addresses.lock().unwrap();
            let any = self.random.below(addresses.len() as u64) as usize;
            addresses[if self.attempts == 0 { self.number % addresses.len() } else { any }]
        };
        self.attempts += 1;
        let offer = [("Sec-WebSocket-Protocol", groupcast::protocol::V1)];
        let mut socket = Socket::try_open(address, "/ws", &offer).await?;
        let hello = json!({"type": "hello", "token": token(&self.name)});
        socket.try_send(hello).await?;
        let Received::Text(text) = socket.receive().await else { return None };
        let welcome: Value = serde_json::from_str(&text).ok()?;
        (welcome["type"] == "welcome").then_some(())?;
        // It names the client's own group, joined by the server. Nothing is sent to it here.
        self.oracle.observe(&welcome).ok()?;
        let group = |group: &String| match self.oracle.since(group) {
            Some(since) => json!({"group": group, "since": since}),
            None => json!({"group": group}),
        };
        let groups: Vec<_> = self.groups.iter().map(group).collect();
        socket.try_send(json!({"type": "join", "id": 1, "groups": groups})).await?;
        Some(socket)
    }

    /// Receives frames. `true`: the last target was received. `false`: the connection was lost.
    async fn listen(&mut self, socket: &mut Socket) -> Result<bool, String> {
        let mut targets = self.shared.targets.clone();
        loop {
            let target = targets.borrow_and_update().clone();
            if let Some(target) = target
                && target.round > self.completed
                && self.has_all(&target.expected)
            {
                if target.last {
                    return Ok(true);
                }
                self.completed = target.round;
                self.shared.completed.fetch_add(1, Ordering::Relaxed);
            }
            tokio::select! {
                received = timeout(SILENCE, socket.receive()) => {
                    let Ok(Received::Text(text)) = received else { return Ok(false) };
                    if !self.handle(socket, &text).await? {
                        return Ok(false);
                    }
                }
                changed = targets.changed() => {
                    // The `VirtualClients` were dropped.
                    if changed.is_err() {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Handles one frame. `false`: the connection is of no use, since a join was refused.
    async fn handle(&mut self, socket: &mut Socket, text: &str) -> Result<bool, String> {
        let frame: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if frame["type"] == "ping" {
            return Ok(socket.try_send(json!({"type": "pong"})).await.is_some());
        }
        if self.recent.len() == RECENT_FRAMES {
            self.recent.pop_front();
        }
        self.recent.push_back(frame.clone());
        self.oracle.observe(&frame)?;
        let refused = |group: &Value| !group["error"].is_null();
        let useful = match frame["type"].as_str() {
            Some("joined") => !frame["groups"].as_array().is_some_and(|g| g.iter().any(refused)),
            Some("error") => false,
            _ => true,
        };
        if useful && !self.joined && frame["type"] == "joined" {
            self.joined = true;
            self.shared.joined.fetch_add(1, Ordering::Relaxed);
        }
        Ok(useful)
    }

    fn has_all(&self, all: &Expected) -> bool {
        let expected = self.groups.iter().filter_map(|group| Some((group, all.get(group)?)));
        expected.into_iter().all(|(group, numbers)| self.oracle.has_all(group, numbers))
    }

    fn progress(&self) -> String {
        let last = |group: &String| format!("{group}: {:?}", self.oracle.last(group));
        self.groups.iter().map(last).collect::<Vec<_>>().join("; ")
    }

    fn report(&self) -> String {
        let frames = self.recent.iter().map(|frame| format!("  {frame}\n"));
        format!(
            "last frames, after {} attempts to connect:\n{}",
            self.attempts,
            frames.collect::<String>()
        )
    }
}
