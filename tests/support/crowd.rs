//! Many v1 clients that come back whenever they lose their connection, each with an oracle.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Chance, Ledger, Numbers, Received, Socket, eventually, token};

/// How long an attempt to connect, or a connection that is pinged each second, may be silent.
const SILENCE: Duration = Duration::from_secs(3);

/// Between two attempts, at most.
const PAUSE: Duration = Duration::from_millis(100);

/// What clients wait for once everything was sent, before they give up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Frames that a client shows when something is wrong.
const SHOWN: usize = 12;

/// The last number of every sender, by group.
pub(crate) type Goal = BTreeMap<String, Numbers>;

/// Where instances listen, as they come and go.
pub(crate) type Places = Arc<Mutex<Vec<SocketAddr>>>;

/// The clients; they are judged as they hear, and end with the value.
pub(crate) struct Crowd {
    around: Around,
    goal: watch::Sender<Option<Wanted>>,
    clients: JoinSet<Result<Ledger, String>>,
    seed: u64,
    size: usize,
    round: u64,
}

/// What all clients look at.
#[derive(Clone)]
struct Around {
    /// A client takes any.
    places: Places,
    /// Clients that are, or have once been, members of all their groups.
    joined: Arc<AtomicUsize>,
    /// Clients that have what is wanted now.
    content: Arc<AtomicUsize>,
    goal: watch::Receiver<Option<Wanted>>,
}

/// What every client is to have received.
#[derive(Clone)]
struct Wanted {
    goal: Arc<Goal>,
    /// Counts them; a client's life ends with the last.
    round: u64,
    last: bool,
}

struct Client {
    name: String,
    groups: Vec<String>,
    around: Around,
    chance: Chance,
    ledger: Ledger,
    /// The newest frames.
    shown: VecDeque<Value>,
    /// Whether it has ever been a member of all its groups.
    joined: bool,
    /// The round in which it last had what was wanted.
    content: u64,
    /// Tried so far; the first goes to the place of the client's own number.
    attempts: usize,
    number: usize,
}

impl Crowd {
    /// Nobody yet, who will connect to these.
    pub(crate) fn at(places: Vec<SocketAddr>, seed: u64) -> Self {
        let (goal, watched) = watch::channel(None);
        let places = Arc::new(Mutex::new(places));
        let (joined, content) = Default::default();
        let around = Around { places, joined, content, goal: watched };
        Self { around, goal, clients: JoinSet::new(), seed, size: 0, round: 0 }
    }

    /// One more client, which will be a member of `groups`.
    pub(crate) fn add(&mut self, groups: &[&str]) {
        let number = self.size;
        self.size += 1;
        let mut client = Client {
            name: format!("cliente{number}"),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            around: self.around.clone(),
            chance: Chance::new(self.seed ^ (number as u64 + 1).wrapping_mul(0x9e37)),
            ledger: Ledger::default(),
            shown: VecDeque::new(),
            joined: false,
            content: 0,
            attempts: 0,
            number,
        };
        let overdue = overdue(self.around.goal.clone());
        self.clients.spawn(async move {
            let roamed = tokio::select! {
                roamed = client.roam() => roamed,
                () = overdue => Err(format!("waited in vain; it has {}", client.standing())),
            };
            match roamed {
                Ok(()) => Ok(client.ledger),
                Err(fault) => Err(format!("{}: {fault}\n{}", client.name, client.history())),
            }
        });
    }

    /// Waits until all are members of their groups.
    pub(crate) async fn joined(&mut self) {
        eventually("all clients to have joined", async || {
            self.check();
            self.around.joined.load(Ordering::Relaxed) == self.size
        })
        .await;
    }

    /// Where they connect.
    pub(crate) fn places(&self) -> Places {
        Arc::clone(&self.around.places)
    }

    /// An instance listens elsewhere now.
    pub(crate) fn moved(&self, index: usize, place: SocketAddr) {
        self.around.places.lock().unwrap()[index] = place;
    }

    /// Fails if a client has seen something wrong.
    pub(crate) fn check(&mut self) {
        while let Some(ended) = self.clients.try_join_next() {
            if let Err(fault) = ended.unwrap() {
                panic!("{fault}");
            }
        }
    }

    /// Waits until every client has what was sent last to its groups, and lets them go on.
    pub(crate) async fn received(&mut self, goal: Goal) {
        self.around.content.store(0, Ordering::Relaxed);
        self.want(goal, false);
        eventually("all clients to have received what was sent", async || {
            self.check();
            self.around.content.load(Ordering::Relaxed) == self.size
        })
        .await;
    }

    fn want(&mut self, goal: Goal, last: bool) {
        self.round += 1;
        self.goal.send_replace(Some(Wanted { goal: Arc::new(goal), round: self.round, last }));
    }

    /// Waits until every client has what was sent last to its groups; what they have received.
    pub(crate) async fn finish(mut self, goal: Goal) -> Vec<Ledger> {
        self.want(goal, true);
        let mut ledgers = Vec::new();
        while let Some(ended) = self.clients.join_next().await {
            ledgers.push(ended.unwrap().unwrap_or_else(|fault| panic!("{fault}")));
        }
        ledgers
    }
}

/// Ends when the last goal has been known for too long.
async fn overdue(mut goal: watch::Receiver<Option<Wanted>>) {
    let _ = goal.wait_for(|wanted| wanted.as_ref().is_some_and(|wanted| wanted.last)).await;
    tokio::time::sleep(PATIENCE).await;
}

impl Client {
    /// Connects, listens, and comes back until all was received.
    async fn roam(&mut self) -> Result<(), String> {
        loop {
            if let Ok(Some(mut socket)) = timeout(SILENCE, self.connect()).await
                && self.listen(&mut socket).await?
            {
                return Ok(());
            }
            let pause = self.chance.below(PAUSE.as_millis() as u64);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// A connection that was welcomed and has asked for its groups.
    async fn connect(&mut self) -> Option<Socket> {
        let place = {
            let places = self.around.places.lock().unwrap();
            let any = self.chance.below(places.len() as u64) as usize;
            places[if self.attempts == 0 { self.number % places.len() } else { any }]
        };
        self.attempts += 1;
        let offer = [("Sec-WebSocket-Protocol", groupcast::protocol::V1)];
        let mut socket = Socket::try_open(place, "/ws", &offer).await?;
        let hello = json!({"type": "hello", "token": token(&self.name)});
        socket.try_send(hello).await?;
        let Received::Text(text) = socket.receive().await else { return None };
        let welcome: Value = serde_json::from_str(&text).ok()?;
        (welcome["type"] == "welcome").then_some(())?;
        // Of a group of its own, joined by the server; nothing is sent to it here.
        self.ledger.hear(&welcome).ok()?;
        let group = |group: &String| match self.ledger.since(group) {
            Some(since) => json!({"group": group, "since": since}),
            None => json!({"group": group}),
        };
        let groups: Vec<_> = self.groups.iter().map(group).collect();
        socket.try_send(json!({"type": "join", "id": 1, "groups": groups})).await?;
        Some(socket)
    }

    /// Receives until that is all there is, or else the connection is lost: whether it was all.
    async fn listen(&mut self, socket: &mut Socket) -> Result<bool, String> {
        let mut goal = self.around.goal.clone();
        loop {
            let wanted = goal.borrow_and_update().clone();
            if let Some(wanted) = wanted
                && wanted.round > self.content
                && self.has_all(&wanted.goal)
            {
                if wanted.last {
                    return Ok(true);
                }
                self.content = wanted.round;
                self.around.content.fetch_add(1, Ordering::Relaxed);
            }
            tokio::select! {
                received = timeout(SILENCE, socket.receive()) => {
                    let Ok(Received::Text(text)) = received else { return Ok(false) };
                    if !self.hear(socket, &text).await? {
                        return Ok(false);
                    }
                }
                changed = goal.changed() => {
                    // The crowd is gone, and nobody asks any more.
                    if changed.is_err() {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Takes one frame; whether the connection is of use.
    async fn hear(&mut self, socket: &mut Socket, text: &str) -> Result<bool, String> {
        let frame: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if frame["type"] == "ping" {
            return Ok(socket.try_send(json!({"type": "pong"})).await.is_some());
        }
        if self.shown.len() == SHOWN {
            self.shown.pop_front();
        }
        self.shown.push_back(frame.clone());
        self.ledger.hear(&frame)?;
        let refused = |standing: &Value| !standing["error"].is_null();
        let useful = match frame["type"].as_str() {
            Some("joined") => !frame["groups"].as_array().is_some_and(|g| g.iter().any(refused)),
            Some("error") => false,
            _ => true,
        };
        if useful && !self.joined && frame["type"] == "joined" {
            self.joined = true;
            self.around.joined.fetch_add(1, Ordering::Relaxed);
        }
        Ok(useful)
    }

    fn has_all(&self, goal: &Goal) -> bool {
        let expected = self.groups.iter().filter_map(|group| Some((group, goal.get(group)?)));
        expected.into_iter().all(|(group, numbers)| self.ledger.has_all(group, numbers))
    }

    fn standing(&self) -> String {
        let last = |group: &String| format!("{group}: {:?}", self.ledger.last(group));
        self.groups.iter().map(last).collect::<Vec<_>>().join("; ")
    }

    fn history(&self) -> String {
        let frames = self.shown.iter().map(|frame| format!("  {frame}\n"));
        format!(
            "after {} attempts to connect, it received last:\n{}",
            self.attempts,
            frames.collect::<String>()
        )
    }
}
