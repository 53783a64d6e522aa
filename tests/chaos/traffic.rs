//! What goes on while faults happen: senders, visitors, a flood, a foreign subscriber.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pair::RedisPair;
use super::{GROUPS, VISITED};
use crate::support::{
    Addresses, Endpoints, Expected, Numbers, Received, SeededRandom, Socket, token,
};

/// The sender that writes to the ingress stream; Django's are 0 to 2.
const INGRESS: u64 = 9;

/// The group that is flooded; the clients whose events are checked are not in it.
const FLOODED: &str = "sala_crecida";

/// Appends to the ingress stream, for one group after the other, until `until` is set.
pub(super) async fn write_ingress(redis: Arc<RedisPair>, until: Arc<AtomicBool>) -> Expected {
    let mut numbers = BTreeMap::<&str, u64>::new();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for group in GROUPS.iter().cycle() {
        pace.tick().await;
        add(&redis, group, &mut numbers).await;
        if until.load(Ordering::Relaxed) {
            break;
        }
    }
    // Once more for all groups, now that there are no more faults.
    for group in GROUPS {
        add(&redis, group, &mut numbers).await;
    }
    let only = |number| Numbers::from([(INGRESS, number)]);
    numbers.into_iter().map(|(group, number)| (group.to_owned(), only(number))).collect()
}

/// Appends the next number for `group`, again and again while Redis refuses it.
async fn add(redis: &RedisPair, group: &'static str, numbers: &mut BTreeMap<&str, u64>) {
    let number = numbers.entry(group).or_default();
    *number += 1;
    let event = json!({"type": "paso", "s": INGRESS, "n": *number}).to_string();
    let words = ["XADD", "groupcast:ingress", "*", "group", group, "event", &event];
    loop {
        let answer = redis.ask(&words);
        if answer.starts_with('$') {
            return;
        }
        // Nothing was written. No answer at all would leave that open.
        assert!(answer.starts_with('-'), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Connects, joins and disconnects again and again, so that groups are entered and left.
pub(super) async fn visit(places: Addresses, mut random: SeededRandom) {
    loop {
        let place = *random.choose(&places.lock().unwrap());
        let stay = Duration::from_millis(100 + random.below(300));
        let group = *random.choose(&VISITED);
        let visit = async {
            let mut socket = joined(place, "visita", group).await?;
            while matches!(socket.receive().await, Received::Text(_) | Received::Ping) {}
            Some(())
        };
        let _ = tokio::time::timeout(stay, visit).await;
        tokio::time::sleep(stay).await;
    }
}

async fn joined(place: SocketAddr, sub: &str, group: &str) -> Option<Socket> {
    let offer = [("Sec-WebSocket-Protocol", groupcast::protocol::V1)];
    let mut socket = Socket::try_open(place, "/ws", &offer).await?;
    socket.try_send(json!({"type": "hello", "token": token(sub)})).await?;
    socket.try_send(json!({"type": "join", "id": 1, "groups": [group]})).await?;
    Some(socket)
}

/// Publishes to one group as fast as `endpoints` accept it, for `length`. Returns how many events
/// were accepted and how many refused.
pub(super) async fn flood(endpoints: Endpoints, length: Duration) -> (usize, usize) {
    let reader = tokio::spawn(async move {
        let Some(mut socket) = joined(endpoints.public, "crecida", FLOODED).await else { return };
        while matches!(socket.receive().await, Received::Text(_) | Received::Ping) {}
    });
    let event = json!({"type": "ola", "relleno": "~".repeat(200)});
    let publication = json!({"groups": [FLOODED], "event": event});
    let body = json!({"publications": vec![publication; 100]}).to_string();
    let until = Instant::now() + length;
    let (mut accepted, mut refused) = (0, 0);
    while Instant::now() < until {
        let answer = endpoints.ask("POST /batch", &[], &body).await;
        let results = answer.json();
        // Too much is refused in time, and a failover refuses everything for a moment.
        let refusals = match answer.status {
            202 => 0,
            207 => results["results"].as_array().unwrap().iter().filter(is_refused).count(),
            429 | 503 => 100,
            status => panic!("{status}: {results}"),
        };
        refused += refusals;
        accepted += 100 - refusals;
    }
    reader.abort();
    (accepted, refused)
}

fn is_refused(result: &&Value) -> bool {
    let status = &result["problem"]["status"];
    assert!(status.is_null() || status == 503 || status == 429, "{result}");
    !status.is_null()
}

/// Listens to everything, as tools for looking into Redis do. It is nobody's delivery.
pub(super) fn subscribe_to_all(server: SocketAddr) {
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.write_all(b"PSUBSCRIBE *\r\n").unwrap();
        let mut buffer = [0; 65_536];
        while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
    });
}
