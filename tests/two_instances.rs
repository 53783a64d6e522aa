//! Two gateways over one Redis act as one.

use serde_json::{Value, json};

use crate::support::{Gateway, RedisServer};

/// The configuration of a gateway over `server`, whose `pedido.*` keep a history.
pub(crate) fn over(server: &RedisServer) -> String {
    format!(
        "[layer]\nkind = \"redis\"\nurl = \"{}\"\n\
         [[layer.history]]\npattern = \"pedido.*\"\nsize = 200\n",
        server.url()
    )
}

/// A gateway that is ready.
pub(crate) async fn gateway(server: &RedisServer) -> Gateway {
    let gateway = Gateway::with(&over(server)).await;
    gateway.ready().await;
    gateway
}

#[tokio::test]
async fn clients_of_one_instance_receive_what_the_other_accepts() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    let (mut ana, mut bea) = (one.v1("ana").await, two.v1("bea").await);
    let mut plain = two.plain_member("7").await;
    for socket in [&mut ana, &mut bea] {
        socket.join("sala_1").await;
    }
    let id = one.publish("sala_1", json!({"type": "aviso", "n": 1})).await;
    let expected =
        json!({"type": "event", "group": "sala_1", "id": id, "data": {"type": "aviso", "n": 1}});
    for socket in [&mut ana, &mut bea] {
        assert_eq!(socket.frame().await, expected);
    }
    one.publish("usuario_7", json!({"type": "aviso", "n": 2})).await;
    assert_eq!(plain.frame().await, json!({"type": "aviso", "n": 2}));
    one.send("/users/bea/send", json!({"type": "aviso", "n": 3})).await;
    assert_eq!(bea.event().await["n"], 3);
    one.broadcast(json!({"type": "aviso", "n": 4})).await;
    for socket in [&mut ana, &mut bea] {
        assert_eq!(socket.event().await["n"], 4);
    }
}

#[tokio::test]
async fn a_membership_change_asked_of_one_instance_applies_on_the_other() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    let mut bea = two.v1("bea").await;
    let answer = one.ask("PUT /groups/sala_9/members/user:bea", &[], "").await;
    assert!(answer.status < 300, "{}", answer.body);
    let frame = bea.frame().await;
    assert_eq!(
        (&frame["type"], &frame["groups"][0]["group"]),
        (&json!("joined"), &json!("sala_9"))
    );
    one.publish("sala_9", json!({"type": "aviso"})).await;
    assert_eq!(bea.event().await, json!({"type": "aviso"}));
}

#[tokio::test]
async fn delivers_a_bare_redis_publish_to_browsers() {
    let server = RedisServer::start();
    let one = gateway(&server).await;
    let mut plain = one.plain_member("7").await;
    server.ask(&["PUBLISH", "groupcast:group:usuario_7", r#"{"type":"imagen_procesada","id":42}"#]);
    assert_eq!(plain.frame().await, json!({"type": "imagen_procesada", "id": 42}));
}

async fn join(socket: &mut crate::support::Socket, group: &str, since: Value) -> Value {
    let entry = match since {
        Value::Null => json!(group),
        since => json!({"group": group, "since": since}),
    };
    let answer = socket.ask(json!({"type": "join", "groups": [entry]})).await;
    answer["groups"][0].clone()
}

#[tokio::test]
async fn a_client_that_reconnects_to_another_instance_misses_nothing() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    let mut ana = one.v1("ana").await;
    let group = join(&mut ana, "pedido.42", Value::Null).await;
    assert_eq!(group["offset"], 0, "a position before any publication: {group}");
    for n in 1..=20 {
        one.publish("pedido.42", json!({"type": "paso", "n": n})).await;
    }
    for n in 1..=20 {
        let frame = ana.frame().await;
        assert_eq!((&frame["offset"], &frame["data"]["n"]), (&json!(n), &json!(n)));
    }
    let mut again = two.v1("ana").await;
    let since = json!({"epoch": group["epoch"], "offset": 5});
    let group = join(&mut again, "pedido.42", since).await;
    assert_eq!((&group["offset"], &group["recovered"]), (&json!(20), &json!(true)));
    one.publish("pedido.42", json!({"type": "paso", "n": 21})).await;
    for n in 6..=21 {
        assert_eq!(again.frame().await["offset"], n);
    }
    let group = join(&mut again, "pedido.42", Value::Null).await;
    assert_eq!(group["offset"], 21, "a group held already answers where the client stands");
}

#[tokio::test]
async fn joins_during_publishing_have_neither_gaps_nor_repetitions() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    let sends = async {
        for n in 1..=150 {
            one.publish("pedido.42", json!({"type": "paso", "n": n})).await;
        }
    };
    let joins = async {
        for round in 0..10 {
            let mut ana = two.v1(&format!("u{round}")).await;
            let group = join(&mut ana, "pedido.42", Value::Null).await;
            let from = group["offset"].as_u64().unwrap();
            for offset in from + 1..=(from + 10).min(150) {
                assert_eq!(ana.frame().await["offset"], offset, "joined at {from}");
            }
        }
    };
    tokio::join!(sends, joins);
}
