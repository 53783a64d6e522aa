//! A real gateway in this process, on free ports.

use std::net::SocketAddr;

use groupcast::config::{Config, Variables};
use groupcast::{Drained, Listeners, StartError};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{API_SECRET, Answer, BASICS, Folder, Socket, eventually, request, soon};

/// The route of gateways whose configuration has none.
const ROUTE: &str = r#"
[[route]]
path = "/ws"
join = ["usuario_{sub}"]
"#;

/// A gateway; it ends with the test's runtime, or earlier if told to.
pub(crate) struct Gateway {
    pub(crate) public: SocketAddr,
    pub(crate) api: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<Drained, StartError>>,
}

impl Gateway {
    /// With the basics of the tests, and `/ws`.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With the basics and what `configuration` adds to them.
    pub(crate) async fn with(configuration: &str) -> Self {
        let route = if configuration.contains("[[route]]") { "" } else { ROUTE };
        let folder = Folder::with(&format!("{BASICS}{configuration}{route}"));
        let config = Config::load(Some(&folder.gateway_toml()), Variables::new());
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let listeners = Listeners::bind(&config.server).unwrap();
        let (public, api) = (listeners.public_addr().unwrap(), listeners.api_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(groupcast::run(config, listeners, async {
            // A gateway that is dropped ends as one that is told to.
            let _ = stopped.await;
        }));
        Self { public, api, stop: Some(stop), running }
    }

    /// Begins to drain.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end of a gateway that was told to stop.
    pub(crate) async fn ended(self) -> Drained {
        soon("the gateway to end", self.running).await.unwrap().unwrap()
    }

    /// A v1 client of `sub`, welcomed.
    pub(crate) async fn v1(&self, sub: &str) -> Socket {
        let mut socket = self.v1_silent("/ws").await;
        socket.hello(&super::token(sub)).await;
        socket.welcome().await;
        socket
    }

    /// A v1 client that has not said its hello.
    pub(crate) async fn v1_silent(&self, path: &str) -> Socket {
        Socket::open(self.public, path, &[("Sec-WebSocket-Protocol", groupcast::protocol::V1)])
            .await
    }

    /// A plain client of `sub`.
    pub(crate) async fn plain(&self, path: &str, sub: &str) -> Socket {
        let bearer = format!("Bearer {}", super::token(sub));
        Socket::open(self.public, path, &[("Authorization", &bearer)]).await
    }

    /// A plain client of `sub` on `/ws` that is a member of its groups.
    pub(crate) async fn plain_member(&self, sub: &str) -> Socket {
        let mut socket = self.plain("/ws", sub).await;
        self.members(&format!("usuario_{sub}"), 1).await;
        // What follows cannot overtake this.
        self.publish(&format!("usuario_{sub}"), json!({"type": "listo"})).await;
        assert_eq!(socket.frame().await, json!({"type": "listo"}));
        socket
    }

    /// Shows that a publication still reaches `witness`, a v1 client, as the next thing it hears.
    pub(crate) async fn still_serves(&self, witness: &mut Socket) {
        let id = self.send("/users/testigo/send", json!({"type": "sigue"})).await;
        let expected = json!({"type": "event", "id": id, "data": {"type": "sigue"}});
        assert_eq!(witness.frame().await, expected);
    }

    /// Asks the API, with the back end's key.
    pub(crate) async fn ask(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {API_SECRET}");
        let mut all = vec![bearer.as_str(), "Content-Type: application/json"];
        all.extend(headers);
        request(self.api, line, &all, body.as_bytes()).await
    }

    /// Sends `event` by `path`; the publication's id.
    pub(crate) async fn send(&self, path: &str, event: Value) -> String {
        let answer = self.ask(&format!("POST {path}"), &[], &event.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Publishes to a group; the publication's id.
    pub(crate) async fn publish(&self, group: &str, event: Value) -> String {
        self.send(&format!("/groups/{group}/send"), event).await
    }

    /// Waits until `group` has `count` members.
    pub(crate) async fn members(&self, group: &str, count: u64) {
        let line = format!("GET /groups/{group}");
        let what = format!("{count} members of {group}");
        eventually(&what, async || self.ask(&line, &[], "").await.json()["connections"] == count)
            .await;
    }

    /// What a metric says, by its name and labels as they are written.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let answer = request(self.api, "GET /metrics", &[], b"").await;
        let value = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{}", answer.body)).parse().unwrap()
    }

    /// Waits until a metric has reached `value`.
    pub(crate) async fn metric_reaches(&self, name: &str, value: f64) {
        let what = format!("{name} to reach {value}");
        eventually(&what, async || self.metric(name).await >= value).await;
    }
}
