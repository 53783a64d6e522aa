//! The two addresses of a gateway, and what clients and back ends do with them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{API_SECRET, Answer, Socket, eventually, request};

/// Where browsers and back ends connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoints {
    pub(crate) public: SocketAddr,
    pub(crate) api: SocketAddr,
}

impl Endpoints {
    /// A v1 client of `sub` that has received its welcome.
    pub(crate) async fn v1(&self, sub: &str) -> Socket {
        let mut socket = self.v1_silent("/ws").await;
        socket.hello(&super::token(sub)).await;
        socket.welcome().await;
        socket
    }

    /// A v1 client that has not sent its hello.
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
        // Later events cannot overtake this one.
        self.publish(&format!("usuario_{sub}"), json!({"type": "listo"})).await;
        assert_eq!(socket.frame().await, json!({"type": "listo"}));
        socket
    }

    /// Asserts that the next frame of `witness`, a v1 client, is a new publication.
    pub(crate) async fn still_serves(&self, witness: &mut Socket) {
        let id = self.send("/users/testigo/send", json!({"type": "sigue"})).await;
        let expected = json!({"type": "event", "id": id, "data": {"type": "sigue"}});
        assert_eq!(witness.frame().await, expected);
    }

    /// Asserts that the next frame of `member` is a new publication to `group`.
    pub(crate) async fn still_serves_group(&self, member: &mut Socket, group: &str) {
        self.publish(group, json!({"type": "sigue"})).await;
        assert_eq!(member.event().await, json!({"type": "sigue"}));
    }

    /// Waits until the gateway delivers.
    pub(crate) async fn ready(&self) {
        eventually("the gateway to be ready", async || self.strict().await == 200).await;
    }

    /// The status of `/readyz?strict`.
    pub(crate) async fn strict(&self) -> u16 {
        request(self.api, "GET /readyz?strict", &[], b"").await.status
    }

    /// One request to the API, with the back end's key.
    pub(crate) async fn ask(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {API_SECRET}");
        let mut all = vec![bearer.as_str(), "Content-Type: application/json"];
        all.extend(headers);
        request(self.api, line, &all, body.as_bytes()).await
    }

    /// Posts `event` to `path`. Returns the publication's id.
    pub(crate) async fn send(&self, path: &str, event: Value) -> String {
        let answer = self.ask(&format!("POST {path}"), &[], &event.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Sends `event` to every connection. Returns the publication's id.
    pub(crate) async fn broadcast(&self, event: Value) -> String {
        self.send("/broadcast", json!({"to": "all", "event": event})).await
    }

    /// Publishes to a group. Returns the publication's id.
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

    /// The value of a metric, by its name and labels as exposed.
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
