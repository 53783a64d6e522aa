//! Publishes without a pause while something fails, and accounts for every number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Endpoints, Gateway, Received, Socket, eventually, soon};

/// Between two publications.
const PACE: Duration = Duration::from_millis(20);

/// Silence after which a member has what it gets.
const SILENCE: Duration = Duration::from_millis(500);

/// Publications that everybody has received before the fault.
const BEFORE: usize = 10;

/// Gateways with a member each of one group, to which the first gateway's back end publishes.
pub(crate) struct OutageTrial {
    pub(crate) gateways: Vec<Gateway>,
    publisher: JoinHandle<Vec<Attempt>>,
    members: Vec<JoinHandle<Ledger>>,
    answered: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
}

/// What an outage cost.
#[derive(Debug)]
pub(crate) struct Cost {
    /// Until the first arrives at each member of those published after the moment given: that of
    /// the slowest.
    pub(crate) resumed: Duration,
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    /// Accepted and never received, by each member; gaps told of them.
    pub(crate) lost: Vec<usize>,
    pub(crate) gaps: Vec<u64>,
}

/// One publication.
struct Attempt {
    begun: Instant,
    accepted: bool,
}

/// What a member has received.
#[derive(Default)]
struct Ledger {
    events: Vec<Arrival>,
    gaps: u64,
}

struct Arrival {
    number: usize,
    gaps_before: u64,
    at: Instant,
}

impl OutageTrial {
    /// Starts publishing at gateways with these configurations, which are ready.
    pub(crate) async fn start(configurations: &[String], group: &'static str) -> Self {
        let (mut gateways, mut members) = (Vec::new(), Vec::new());
        let (answered, ends) = (Arc::default(), Arc::<AtomicBool>::default());
        for configuration in configurations {
            let gateway = Gateway::with(configuration).await;
            gateway.ready().await;
            let mut socket = gateway.v1("ana").await;
            socket.ask(json!({"type": "join", "groups": [group]})).await;
            members.push(tokio::spawn(receive(socket, group, Arc::clone(&ends))));
            gateways.push(gateway);
        }
        let publisher =
            tokio::spawn(publish(*gateways[0], group, Arc::clone(&answered), Arc::clone(&ends)));
        let trial = Self { gateways, publisher, members, answered, ends };
        trial.publishes_more().await;
        trial
    }

    async fn publishes_more(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        let answered = || self.answered.load(Ordering::Relaxed);
        eventually("publications", async || answered() >= before + BEFORE).await;
    }

    /// Waits until all deliver again, then ends. Delivery counts from `moment` on.
    pub(crate) async fn end(self, moment: Instant) -> Cost {
        for gateway in &self.gateways {
            gateway.ready().await;
        }
        self.publishes_more().await;
        self.ends.store(true, Ordering::Relaxed);
        let attempts = soon("the publisher to end", self.publisher).await.unwrap();
        let mut ledgers = Vec::new();
        for member in self.members {
            ledgers.push(soon("a member to end", member).await.unwrap());
        }
        let resumed = ledgers.iter().map(|ledger| ledger.resumed(&attempts, moment)).max();
        let cost = Cost {
            resumed: resumed.unwrap() - moment,
            accepted: attempts.iter().filter(|attempt| attempt.accepted).count(),
            refused: attempts.iter().filter(|attempt| !attempt.accepted).count(),
            lost: ledgers.iter().map(|ledger| ledger.lost(&attempts)).collect(),
            gaps: ledgers.iter().map(|ledger| ledger.gaps).collect(),
        };
        println!("{cost:?}");
        assert!(cost.accepted >= 2 * BEFORE, "{cost:?}");
        cost
    }
}

/// Publishes numbers, each once, until told to end.
async fn publish(
    endpoints: Endpoints,
    group: &'static str,
    answered: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    while !ends.load(Ordering::Relaxed) {
        pace.tick().await;
        let begun = Instant::now();
        let body = json!({"type": "paso", "n": attempts.len()}).to_string();
        let answer = endpoints.ask(&format!("POST /groups/{group}/send"), &[], &body).await;
        assert!(matches!(answer.status, 202 | 503), "{}", answer.body);
        attempts.push(Attempt { begun, accepted: answer.status == 202 });
        answered.store(attempts.len(), Ordering::Relaxed);
    }
    attempts
}

/// Receives until told to end and nothing more comes.
async fn receive(mut socket: Socket, group: &'static str, ends: Arc<AtomicBool>) -> Ledger {
    let mut ledger = Ledger::default();
    loop {
        match timeout(SILENCE, socket.receive()).await {
            Ok(Received::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                match frame["type"].as_str() {
                    Some("ping") => socket.send(json!({"type": "pong"})).await,
                    _ => ledger.take(&frame, group),
                }
            }
            Ok(Received::Ping) => {}
            Ok(ended) => panic!("{ended:?}"),
            Err(_) if ends.load(Ordering::Relaxed) => return ledger,
            Err(_) => {}
        }
    }
}

impl Ledger {
    fn take(&mut self, frame: &Value, group: &str) {
        if frame["type"] == "gap" && (frame["group"] == group || frame["group"].is_null()) {
            self.gaps += 1;
        }
        if frame["type"] == "event" && frame["group"] == group && frame["data"]["type"] == "paso" {
            let number = frame["data"]["n"].as_u64().unwrap() as usize;
            if let Some(last) = self.events.last() {
                let last = last.number;
                assert!(number > last, "{number} after {last}: twice, or out of order");
            }
            self.events.push(Arrival { number, gaps_before: self.gaps, at: Instant::now() });
        }
    }

    /// How many of the accepted ones never arrived; a gap must have told of each.
    fn lost(&self, attempts: &[Attempt]) -> usize {
        let (mut lost, mut gaps_before) = (0, 0);
        let mut events = self.events.iter().peekable();
        for (number, attempt) in attempts.iter().enumerate() {
            if let Some(arrival) = events.next_if(|arrival| arrival.number == number) {
                gaps_before = arrival.gaps_before;
            } else if attempt.accepted {
                let gaps = events.peek().map_or(self.gaps, |next| next.gaps_before);
                assert!(gaps > gaps_before, "number {number} is missing, and no gap tells it");
                lost += 1;
            }
        }
        lost
    }

    /// When the first arrived of those published after `moment`.
    fn resumed(&self, attempts: &[Attempt], moment: Instant) -> Instant {
        let after = |arrival: &&Arrival| attempts[arrival.number].begun > moment;
        self.events.iter().find(after).expect("something arrives").at
    }
}
