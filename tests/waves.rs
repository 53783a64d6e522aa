//! All clients of an instance come back at once, with all their groups.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Instance, Received, RedisServer, Socket, token};
use crate::two_instances::over;

/// Groups of each client, all with history and all its own.
const GROUPS: usize = 100;

/// The longest that one client may need, within its attempts.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients that come back: 150 in `make test`, and 2,000 with `WAVE_CLIENTS=2000`.
fn clients() -> usize {
    std::env::var("WAVE_CLIENTS").map_or(150, |count| count.parse().unwrap())
}

/// What a client has of its groups: each one's position.
type Positions = Vec<(String, Value)>;

/// Connects, joins all groups and returns their positions, and how many joins were refused.
async fn join_all(to: SocketAddr, number: usize, before: Option<Positions>) -> (Positions, usize) {
    let (mut positions, mut refused) = (Vec::new(), 0);
    let mut wanted: Vec<_> = match before {
        Some(before) => before
            .into_iter()
            .map(|(group, since)| json!({"group": group, "since": since}))
            .collect(),
        None => (0..GROUPS).map(|n| json!(format!("pedido.{number}.{n}"))).collect(),
    };
    while !wanted.is_empty() {
        let Some(mut socket) = connect(to, number).await else { continue };
        while !wanted.is_empty() {
            let join = json!({"type": "join", "id": 1, "groups": wanted});
            if socket.try_send(join).await.is_none() {
                break;
            }
            let Some(joined) = answer(&mut socket).await else { break };
            let outcomes = joined["groups"].as_array().unwrap();
            let failed: Vec<_> = outcomes.iter().map(|it| !it["error"].is_null()).collect();
            for (outcome, _) in outcomes.iter().zip(&failed).filter(|(_, failed)| !**failed) {
                let since = json!({"epoch": outcome["epoch"], "offset": outcome["offset"]});
                positions.push((outcome["group"].as_str().unwrap().to_owned(), since));
            }
            refused += failed.iter().filter(|failed| **failed).count();
            let left = wanted.into_iter().zip(failed).filter(|(_, failed)| *failed);
            wanted = left.map(|(entry, _)| entry).collect();
        }
        if wanted.is_empty() {
            // Kept open: the groups stay.
            tokio::spawn(async move { while socket.receive().await != Received::Gone {} });
            break;
        }
    }
    (positions, refused)
}

async fn connect(to: SocketAddr, number: usize) -> Option<Socket> {
    let offer = [("Sec-WebSocket-Protocol", groupcast::protocol::V1)];
    let mut socket = Socket::try_open(to, "/ws", &offer).await?;
    socket.try_send(json!({"type": "hello", "token": token(&format!("{number}"))})).await?;
    match socket.receive().await {
        Received::Text(text) if text.contains(r#""type":"welcome""#) => Some(socket),
        _ => None,
    }
}

/// The next `joined`.
async fn answer(socket: &mut Socket) -> Option<Value> {
    loop {
        let Received::Text(text) = socket.receive().await else { return None };
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame["type"] == "joined" {
            return Some(frame);
        }
    }
}

/// Has every client join; returns their positions, how many joins were refused, and the time.
async fn wave(to: SocketAddr, before: Vec<Option<Positions>>) -> (Vec<Positions>, usize, Duration) {
    let began = Instant::now();
    let mut joining = JoinSet::new();
    for (number, before) in before.into_iter().enumerate() {
        joining.spawn(async move {
            let joined = tokio::time::timeout(PATIENCE, join_all(to, number, before)).await;
            (number, joined.expect("a client is back"))
        });
    }
    let (mut positions, mut refused) = (Vec::new(), 0);
    while let Some(joined) = joining.join_next().await {
        let (number, (of_client, refusals)) = joined.unwrap();
        positions.push((number, of_client));
        refused += refusals;
    }
    positions.sort_by_key(|(number, _)| *number);
    (positions.into_iter().map(|(_, positions)| positions).collect(), refused, began.elapsed())
}

/// Scripts that Redis has run, and the mean time of one in microseconds.
fn scripts(server: &RedisServer) -> (u64, f64) {
    let stats = server.ask(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).unwrap();
    let value = |name: &str| {
        let field = line.split(',').find_map(|field| field.strip_prefix(name));
        field.unwrap().parse::<f64>().unwrap()
    };
    (value("calls=") as u64, value("usec_per_call="))
}

/// How many scripts took more than 3 ms, and the longest in microseconds.
fn slow_scripts(server: &RedisServer) -> (usize, u64) {
    let log = server.ask(&["SLOWLOG", "GET", "1000"]);
    let lines: Vec<_> = log.lines().collect();
    let is_script = |at: &usize| lines[*at].eq_ignore_ascii_case("evalsha");
    // The time precedes the command by three lines: that of a list's length, and of a text's.
    let times = (3..lines.len()).filter(is_script).filter_map(|at| {
        lines[at - 3].strip_prefix(':').and_then(|micros| micros.parse::<u64>().ok())
    });
    let times: Vec<_> = times.collect();
    (times.len(), times.into_iter().max().unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_back_after_a_kill_with_few_scripts_and_no_refusal() {
    let server = RedisServer::start();
    let limits = "[limits]\nmax_frame_bytes = \"64KiB\"\n";
    let mut instance = Instance::start(&format!("{}{limits}", over(&server))).await;
    instance.ready().await;
    let nobody = vec![None; clients()];
    let (positions, refused, _) = wave(instance.public, nobody).await;
    assert_eq!(refused, 0);
    instance.kill();
    instance.start_again().await;
    instance.ready().await;
    server.ask(&["CONFIG", "RESETSTAT"]);
    server.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "3000", "slowlog-max-len", "1000"]);
    let before = positions.into_iter().map(Some).collect();
    let (back, refused, time) = wave(instance.public, before).await;
    let (count, micros) = scripts(&server);
    let (slow, longest) = slow_scripts(&server);
    println!(
        "{} clients x {GROUPS} groups: {refused} refused, back in {time:?}, {count} scripts of \
         {micros:.0} µs, {slow} of more than 3 ms (the longest: {longest} µs)",
        clients()
    );
    // They come back at once, so the window is zero.
    let is_long = clients() >= 1000 && !cfg!(debug_assertions);
    assert!(!is_long || time <= Duration::from_secs(10), "{time:?}");
    assert_eq!(refused, 0);
    assert!(back.iter().all(|positions| positions.len() == GROUPS));
    // One for each group would be a hundred times as many; a slow test's joins come one by one.
    let most = if clients() >= 1000 { 1500 } else { 2 * clients() as u64 };
    assert!(count <= most + 2 * time.as_secs(), "{count} scripts");
}
