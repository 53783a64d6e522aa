//! Who was left out of an event does not get it on return, and knows where it was.

use serde_json::{Value, json};

use crate::support::{Gateway, RedisServer, Socket, token};

const HISTORY: &str = "[[layer.history]]\npattern = \"sala_*\"\nsize = 100\n";

/// A client and what it knows of `sala_1`.
struct Client {
    socket: Socket,
    id: Value,
    epoch: Value,
    offset: u64,
}

impl Client {
    /// Joins `sala_1` for the first time.
    async fn join(gateway: &Gateway, sub: &str) -> Self {
        Self::connect(gateway, sub, json!({}), json!("sala_1")).await
    }

    /// Joins from where `other` was, with `hello` besides.
    async fn after(gateway: &Gateway, sub: &str, other: &Self, hello: Value) -> Self {
        let since = json!({"epoch": other.epoch, "offset": other.offset});
        let client =
            Self::connect(gateway, sub, hello, json!({"group": "sala_1", "since": since})).await;
        Self { offset: other.offset, ..client }
    }

    async fn connect(gateway: &Gateway, sub: &str, mut hello: Value, entry: Value) -> Self {
        let mut socket = gateway.v1_silent("/ws").await;
        hello["type"] = "hello".into();
        hello["token"] = token(sub).into();
        socket.send(hello).await;
        let id = socket.welcome().await["connection"].clone();
        let answer = socket.ask(json!({"type": "join", "groups": [entry]})).await;
        let standing = &answer["groups"][0];
        assert_ne!(standing["recovered"], false, "{answer}");
        let epoch = standing["epoch"].clone();
        Self { socket, id, epoch, offset: standing["offset"].as_u64().unwrap() }
    }

    async fn send_without_echo(&mut self, n: u64) {
        let data = json!({"type": "mensaje", "n": n});
        let send = json!({"type": "send", "id": n, "group": "sala_1", "data": data, "echo": false});
        self.socket.send(send).await;
        // The position and the answer may come in either order.
        let mut frames = [self.socket.frame().await, self.socket.frame().await];
        frames.sort_by_key(|frame| frame["type"].to_string());
        let kinds = frames.each_ref().map(|frame| frame["type"].clone());
        assert_eq!(kinds, ["position", "result"], "{frames:?}");
    }

    /// The next frames are one of each kind, at the offsets that follow.
    async fn receives(&mut self, kinds: &[&str]) {
        for kind in kinds {
            let frame = self.socket.frame().await;
            self.offset += 1;
            assert_eq!((&frame["type"], &frame["offset"]), (&json!(kind), &json!(self.offset)));
        }
    }
}

/// A sender without echo leaves `here` and returns to `there`.
async fn the_sender_alone_is_left_out(here: &Gateway, there: &Gateway) {
    let start = Client::join(here, "9").await;
    let mut listener = Client::join(here, "8").await;
    let mut sender = Client::join(here, "7").await;
    sender.send_without_echo(1).await;
    here.publish("sala_1", json!({"type": "mensaje", "n": 2})).await;
    assert_eq!(sender.socket.event().await["n"], 2);
    sender.send_without_echo(3).await;
    listener.receives(&["event", "event", "event"]).await;
    sender.socket.close(1000).await;

    let previous = json!({"previous": sender.id});
    let mut back = Client::after(there, "7", &start, previous.clone()).await;
    back.receives(&["position", "event", "position"]).await;
    // Another tab, another user who names the connection, and a client that names none.
    let others = [
        ("7", json!({})),
        ("8", previous),
        ("7", json!({"previous": "not the id of a connection"})),
    ];
    let mut clients = vec![back];
    for (sub, hello) in others {
        let mut other = Client::after(there, sub, &start, hello).await;
        other.receives(&["event", "event", "event"]).await;
        clients.push(other);
    }
    clients.push(listener);
    there.publish("sala_1", json!({"type": "mensaje", "n": 4})).await;
    for client in &mut clients {
        client.receives(&["event"]).await;
    }
}

/// The back end leaves a connection out of what it sends while that is away.
async fn what_the_back_end_leaves_out_stays_out(here: &Gateway, there: &Gateway) {
    let start = Client::join(here, "9").await;
    let gone = Client::join(here, "7").await;
    gone.socket.close(1000).await;
    let path = format!("/groups/sala_1/send?except={}", gone.id.as_str().unwrap());
    there.send(&path, json!({"type": "mensaje", "n": 1})).await;
    there.send("/groups/sala_1/send?except=user:6", json!({"type": "mensaje", "n": 2})).await;

    let mut back = Client::after(there, "7", &start, json!({"previous": gone.id})).await;
    back.receives(&["position", "event"]).await;
    let mut left_out = Client::after(there, "6", &start, json!({})).await;
    left_out.receives(&["event", "position"]).await;
    // A late event for the connection that is gone is for the one that replaced it.
    here.send(&path, json!({"type": "mensaje", "n": 3})).await;
    back.receives(&["position"]).await;
    left_out.receives(&["event"]).await;
}

#[tokio::test]
async fn a_sender_without_echo_does_not_get_its_event_on_return() {
    let gateway = Gateway::with(HISTORY).await;
    the_sender_alone_is_left_out(&gateway, &gateway).await;
}

#[tokio::test]
async fn a_sender_without_echo_does_not_get_its_event_on_another_instance() {
    let server = RedisServer::start();
    let (one, two) = (over(&server).await, over(&server).await);
    the_sender_alone_is_left_out(&one, &two).await;
}

#[tokio::test]
async fn a_connection_that_the_back_end_leaves_out_does_not_get_the_event_on_return() {
    let gateway = Gateway::with(HISTORY).await;
    what_the_back_end_leaves_out_stays_out(&gateway, &gateway).await;
}

#[tokio::test]
async fn who_names_the_connection_of_another_user_gets_what_that_one_was_left_out_of() {
    let gateway = Gateway::with(HISTORY).await;
    let start = Client::join(&gateway, "9").await;
    let gone = Client::join(&gateway, "7").await;
    gone.socket.close(1000).await;
    let path = format!("/groups/sala_1/send?except={}", gone.id.as_str().unwrap());
    gateway.send(&path, json!({"type": "mensaje"})).await;
    let mut other = Client::after(&gateway, "8", &start, json!({"previous": gone.id})).await;
    other.receives(&["event"]).await;
    gateway.send(&path, json!({"type": "mensaje"})).await;
    other.receives(&["event"]).await;
}

#[tokio::test]
async fn a_connection_that_the_back_end_leaves_out_does_not_get_the_event_on_another_instance() {
    let server = RedisServer::start();
    let (one, two) = (over(&server).await, over(&server).await);
    what_the_back_end_leaves_out_stays_out(&one, &two).await;
}

async fn over(server: &RedisServer) -> Gateway {
    let layer = format!("[layer]\nkind = \"redis\"\nurl = \"{}\"\n", server.url());
    let gateway = Gateway::with(&format!("{layer}{HISTORY}")).await;
    gateway.ready().await;
    gateway
}
