//! Every member receives each publication of its groups once, in the order of acceptance.

use serde_json::{Value, json};

use crate::support::{Gateway, Socket, token};

/// More than one turn of a shard takes (64), so that the order must hold across turns, too.
const MANY: u64 = 300;

async fn numbers(socket: &mut Socket, count: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(socket.event().await["n"].as_u64().unwrap());
    }
    numbers
}

fn batch(group: &str, numbers: impl Iterator<Item = u64>) -> String {
    let publication = |n| json!({"groups": [group], "event": {"type": "cuenta", "n": n}});
    json!({"publications": numbers.map(publication).collect::<Vec<_>>()}).to_string()
}

#[tokio::test]
async fn members_on_all_shards_see_the_same_order() {
    let gateway = Gateway::start().await;
    let mut members = Vec::new();
    for sub in ["1", "2", "3", "4"] {
        let mut socket = gateway.v1(sub).await;
        socket.join("sala_1").await;
        members.push(socket);
    }
    for start in [0, MANY / 2] {
        let body = batch("sala_1", start..start + MANY / 2);
        let answer = gateway.ask("POST /batch", &[], &body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let all = (0..MANY).collect::<Vec<_>>();
    for member in &mut members {
        assert_eq!(numbers(member, MANY).await, all);
    }
    gateway.metric_reaches("groupcast_deliveries_total", (4 * MANY) as f64).await;
    assert_eq!(gateway.metric("groupcast_deliveries_total").await, (4 * MANY) as f64);
}

#[tokio::test]
async fn all_members_see_concurrent_publishers_in_the_same_order() {
    let gateway = Gateway::start().await;
    let mut members = Vec::new();
    for sub in ["1", "2"] {
        let mut socket = gateway.v1(sub).await;
        socket.join("sala_1").await;
        members.push(socket);
    }
    let (odd, even) = (batch("sala_1", 0..MANY), batch("sala_1", MANY..2 * MANY));
    let both =
        tokio::join!(gateway.ask("POST /batch", &[], &odd), gateway.ask("POST /batch", &[], &even));
    assert_eq!((both.0.status, both.1.status), (202, 202));
    let first = numbers(&mut members[0], 2 * MANY).await;
    assert_eq!(numbers(&mut members[1], 2 * MANY).await, first, "one order for all");
    for part in [0..MANY, MANY..2 * MANY] {
        let of_one = first.iter().copied().filter(|n| part.contains(n));
        assert!(of_one.eq(part.clone()), "each publisher's own order is kept");
    }
}

#[tokio::test]
async fn delivers_an_event_byte_for_byte() {
    let gateway = Gateway::start().await;
    let mut plain = gateway.plain_member("7").await;
    let event =
        r#"{ "b":1.0,  "type":"x", "a":1e3, "á":"\u00e9 é\/","big":12345678901234567890123 }"#;
    let answer = gateway.ask("POST /groups/usuario_7/send", &[], event).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(plain.text().await, event);
}

#[tokio::test]
async fn members_who_join_later_or_have_left_receive_nothing() {
    let gateway = Gateway::start().await;
    let mut member = gateway.v1("1").await;
    member.join("sala_1").await;
    gateway.publish("sala_1", json!({"type": "antes"})).await;
    assert_eq!(member.event().await, json!({"type": "antes"}));
    let mut later = gateway.v1("2").await;
    later.join("sala_1").await;
    let left = member.ask(json!({"type": "leave", "groups": ["sala_1"]})).await;
    assert_eq!(left, json!({"type": "left", "groups": [{"group": "sala_1"}]}));
    gateway.publish("sala_1", json!({"type": "después"})).await;
    assert_eq!(later.event().await, json!({"type": "después"}), "nothing from before its join");
    gateway.publish("usuario_1", json!({"type": "suyo"})).await;
    assert_eq!(member.event().await, json!({"type": "suyo"}), "nothing from after its leave");
}

#[tokio::test]
async fn gateways_in_one_process_are_independent() {
    let (one, other) = (Gateway::start().await, Gateway::start().await);
    let (mut here, mut there) = (one.v1("7").await, other.v1("7").await);
    one.publish("usuario_7", json!({"type": "aquí"})).await;
    other.publish("usuario_7", json!({"type": "allí"})).await;
    assert_eq!(here.event().await, json!({"type": "aquí"}));
    assert_eq!(there.event().await, json!({"type": "allí"}));
}

#[tokio::test]
async fn events_to_a_user_a_connection_or_all_reach_exactly_those() {
    let gateway = Gateway::start().await;
    let mut plain = gateway.plain_member("7").await;
    let (mut seven, mut eight) = (gateway.v1_silent("/ws").await, gateway.v1("8").await);
    seven.hello(&token("7")).await;
    let id = seven.welcome().await["connection"].as_str().unwrap().to_owned();
    let mut other_seven = gateway.v1("7").await;

    let user = gateway.send("/users/7/send", json!({"type": "user"})).await;
    let one = gateway.send(&format!("/connections/{id}/send"), json!({"type": "one"})).await;
    let all = gateway.broadcast(json!({"type": "all"})).await;
    let frame = |id: &str, kind: &str| json!({"type": "event", "id": id, "data": {"type": kind}});
    for socket in [&mut seven, &mut other_seven] {
        assert_eq!(socket.frame().await, frame(&user, "user"));
    }
    assert_eq!(seven.frame().await, frame(&one, "one"));
    for socket in [&mut seven, &mut other_seven, &mut eight] {
        assert_eq!(socket.frame().await, frame(&all, "all"));
    }
    assert_eq!(plain.frame().await, json!({"type": "user"}));
    assert_eq!(plain.frame().await, json!({"type": "all"}));
}

#[tokio::test]
async fn connections_in_except_do_not_receive_the_event() {
    let gateway = Gateway::start().await;
    let mut excepted = gateway.v1_silent("/ws").await;
    excepted.hello(&token("7")).await;
    let id = excepted.welcome().await["connection"].as_str().unwrap().to_owned();
    let mut namesake = gateway.v1("7").await;
    let mut eight = gateway.v1("8").await;
    for socket in [&mut excepted, &mut namesake, &mut eight] {
        socket.join("sala_1").await;
    }
    let kind = |kind: &str| json!({"type": kind});
    for path in ["/groups/sala_1/send", "/broadcast"] {
        let body = |event: Value| match path {
            "/broadcast" => json!({"to": "all", "event": event}),
            _ => event,
        };
        gateway.send(&format!("{path}?except={id}"), body(kind("not that one"))).await;
        gateway.send(&format!("{path}?except=user:7"), body(kind("not those"))).await;
        gateway.send(path, body(kind("everybody"))).await;
        let (to_one, to_two, to_all) = (
            excepted.event().await,
            [namesake.event().await, namesake.event().await],
            [eight.event().await, eight.event().await, eight.event().await],
        );
        assert_eq!(to_one, kind("everybody"), "{path}");
        assert_eq!(to_two, [kind("not that one"), kind("everybody")], "{path}");
        assert_eq!(to_all, [kind("not that one"), kind("not those"), kind("everybody")], "{path}");
    }
}

#[tokio::test]
async fn accepts_and_discards_an_event_to_a_group_without_members() {
    let gateway = Gateway::start().await;
    let id = gateway.publish("usuario_9", json!({"type": "x"})).await;
    assert!(!id.is_empty());
    let mut nine = gateway.v1("9").await;
    nine.join("sala_1").await;
    gateway.publish("usuario_9", json!({"type": "y"})).await;
    assert_eq!(nine.event().await, json!({"type": "y"}));
}
