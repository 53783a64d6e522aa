//! Events accepted by the gateway are forwarded once to Django's consumers. A channel name reaches
//! one browser.

use serde_json::{Value, json};

use crate::support::{Django, Gateway, Instance, Python, RedisServer, Socket};

const SEND: &str = "send = [\"*\"]\n";

/// A gateway that receives from Django and forwards to it.
async fn gateway(django: &Django) -> Gateway {
    let gateway = Gateway::with(&django.gateway()).await;
    gateway.ready().await;
    gateway
}

/// A v1 client that has joined `sala_0`.
async fn member(gateway: &Gateway, sub: &str) -> Socket {
    let mut socket = gateway.v1(sub).await;
    socket.join("sala_0").await;
    socket
}

fn consumers(django: &Django, more: Value) -> Value {
    let mut options = django.options(json!({"groups": ["sala_0"]}));
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

/// The channel name of the only connection of `sub`.
async fn channel_of(gateway: &Gateway, sub: &str) -> String {
    let report = gateway.ask(&format!("GET /users/{sub}"), &[], "").await.json();
    report["connections"][0]["channel"].as_str().unwrap().to_owned()
}

/// Browsers at two instances and three consumers in two processes all receive once what both sides
/// send.
async fn assert_all_receive_once(django: Django) {
    let gateways = [gateway(&django).await, gateway(&django).await];
    let mut browsers = [member(&gateways[0], "ana").await, member(&gateways[1], "luis").await];
    let mut two = Python::consumer(&consumers(&django, json!({"members": 2}))).await;
    let mut one = Python::consumer(&consumers(&django, json!({}))).await;
    let mut view = Python::layer(&django.options(json!({})));
    for n in 0..30 {
        let event = json!({"type": "paso", "n": n, "texto": "señal", "lista": [1, null, 2.5]});
        match n % 3 {
            2 => view.call(json!(["group_send", "sala_0", event])).await,
            at => drop(gateways[at].publish("sala_0", event.clone()).await),
        }
        // One after the other, so that the order is known.
        for browser in &mut browsers {
            assert_eq!(browser.event().await, event);
        }
        for (consumer, times) in [(&mut two, 2), (&mut one, 1)] {
            for _ in 0..times {
                assert_eq!(consumer.line().await, event);
            }
        }
    }
}

#[tokio::test]
async fn forwards_to_consumers_of_the_core_layer() {
    let server = RedisServer::start();
    assert_all_receive_once(Django::core(&server).with(json!({}), SEND)).await;
}

#[tokio::test]
async fn forwards_encrypted_json_to_consumers_of_the_core_layer() {
    let server = RedisServer::start();
    let config = json!({"serializer_format": "json", "symmetric_encryption_keys": ["clave"],
        "prefix": "x", "random_prefix_length": 5});
    let channels = format!(
        "{SEND}serializer = \"json\"\nprefix = \"x\"\nrandom_prefix_length = 5\n\
         [[channels.key]]\nsecret = \"clave\""
    );
    assert_all_receive_once(Django::core(&server).with(config, &channels)).await;
}

#[tokio::test]
async fn forwards_to_consumers_of_the_pubsub_layer() {
    let server = RedisServer::start();
    assert_all_receive_once(Django::pubsub(&server).with(json!({}), SEND)).await;
}

#[tokio::test]
async fn forwards_encrypted_to_consumers_of_the_pubsub_layer() {
    let server = RedisServer::start();
    let config = json!({"symmetric_encryption_keys": ["clave"]});
    let channels = format!("{SEND}[[channels.key]]\nsecret = \"clave\"");
    assert_all_receive_once(Django::pubsub(&server).with(config, &channels)).await;
}

#[tokio::test]
async fn forwards_in_the_order_of_acceptance() {
    let server = RedisServer::start();
    let django = Django::core(&server)
        .with(json!({"capacity": 2000}), "send = [\"sala_*\"]\nsend_capacity = 2000\n");
    let gateway = gateway(&django).await;
    let mut consumer = Python::consumer(&consumers(&django, json!({}))).await;
    // Many at once, so that they share scripts and timestamps.
    let script = "for n = 1, 600 do redis.call('XADD', KEYS[1], '*', 'group', 'sala_0', 'event', \
                  '{\"type\":\"paso\",\"n\":' .. n .. '}') end";
    server.ask(&["EVAL", script, "1", "groupcast:ingress"]);
    for n in 1..=600 {
        assert_eq!(consumer.line().await, json!({"type": "paso", "n": n}));
    }
    assert_eq!(gateway.metric("groupcast_django_sent_total").await, 600.0);
}

#[tokio::test]
async fn forwards_everything_before_the_instance_exits() {
    let server = RedisServer::start();
    let channels = "send = [\"*\"]\nsend_capacity = 2000\n";
    let django = Django::core(&server).with(json!({"capacity": 2000}), channels);
    let mut instance = Instance::start(&django.gateway()).await;
    instance.ready().await;
    // Members of dead processes, listed before the live one, make much work for the queue.
    let mut view = Python::layer(&django.options(json!({})));
    for n in 0..20 {
        view.call(json!(["group_add", "sala_0", format!("specific.ida{n}!uno")])).await;
    }
    let mut consumer = Python::consumer(&consumers(&django, json!({}))).await;
    let event = |n: usize| json!({"groups": ["sala_0"], "event": {"type": "paso", "n": n}});
    let batch = json!({"publications": (1..=500).map(event).collect::<Vec<_>>()});
    let answer = instance.ask("POST /batch", &[], &batch.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    instance.terminate().await;
    for n in 1..=500 {
        assert_eq!(consumer.line().await["n"], n);
    }
}

#[tokio::test]
async fn forwards_events_from_every_way_in() {
    let server = RedisServer::start();
    let django = Django::core(&server).with(json!({}), SEND);
    let gateway = gateway(&django).await;
    let mut ana = member(&gateway, "ana").await;
    let mut consumer = Python::consumer(&consumers(&django, json!({}))).await;
    let event = |by: &str| json!({"type": "paso", "por": by});
    gateway.publish("sala_0", event("post")).await;
    assert_eq!(consumer.line().await, event("post"));
    assert_eq!(ana.event().await, event("post"));
    let data = event("navegador");
    ana.ask(json!({"type": "send", "group": "sala_0", "data": data, "echo": false})).await;
    assert_eq!(consumer.line().await, event("navegador"));
    let text = event("flujo").to_string();
    server.ask(&["XADD", "groupcast:ingress", "*", "group", "sala_0", "event", &text]);
    assert_eq!(consumer.line().await, event("flujo"));
    assert_eq!(ana.event().await, event("flujo"));
    // Events to users and connections are not forwarded. A repeated key forwards once.
    gateway.send("/users/ana/send", event("suyo")).await;
    for _ in 0..2 {
        let path = "POST /groups/sala_0/send";
        let key = ["Idempotency-Key: una"];
        assert_eq!(gateway.ask(path, &key, &event("una vez").to_string()).await.status, 202);
    }
    gateway.publish("sala_0", event("fin")).await;
    assert_eq!(consumer.line().await, event("una vez"));
    assert_eq!(consumer.line().await, event("fin"));
}

#[tokio::test]
async fn forwards_to_a_worker_that_is_a_member_by_name() {
    let server = RedisServer::start();
    let django = Django::core(&server).with(json!({}), SEND);
    let gateway = gateway(&django).await;
    let mut worker = Python::consumer(&consumers(&django, json!({"name": "tareas"}))).await;
    for n in 0..3 {
        gateway.publish("sala_0", json!({"type": "paso", "n": n})).await;
        assert_eq!(worker.line().await, json!({"type": "paso", "n": n}));
    }
}

#[tokio::test]
async fn does_not_forward_a_type_that_is_not_a_handler() {
    let server = RedisServer::start();
    let django = Django::core(&server).with(json!({}), SEND);
    let gateway = gateway(&django).await;
    let mut ana = member(&gateway, "ana").await;
    let mut consumer = Python::consumer(&consumers(&django, json!({}))).await;
    for kind in ["_private", "websocket.disconnect", "aviso"] {
        gateway.publish("sala_0", json!({"type": kind})).await;
        assert_eq!(ana.event().await, json!({"type": kind}), "browsers have no handlers");
    }
    assert_eq!(consumer.line().await, json!({"type": "aviso"}));
    let dropped = "groupcast_django_dropped_total{reason=\"type\"}";
    assert_eq!(gateway.metric(dropped).await, 2.0);
}

#[tokio::test]
async fn forwards_up_to_the_capacity_and_counts_the_rest() {
    let server = RedisServer::start();
    let django = Django::core(&server).with(json!({}), "send = [\"*\"]\nsend_capacity = 3\n");
    let gateway = gateway(&django).await;
    let mut ana = member(&gateway, "ana").await;
    // A member that a crashed process left behind.
    let mut view = Python::layer(&django.options(json!({})));
    view.call(json!(["group_add", "sala_0", "specific.ida!uno"])).await;
    for n in 0..5 {
        gateway.publish("sala_0", json!({"type": "paso", "n": n})).await;
        assert_eq!(ana.event().await["n"], n);
    }
    gateway.metric_reaches("groupcast_django_dropped_total{reason=\"capacity\"}", 2.0).await;
    assert_eq!(server.ask(&["ZCARD", "asgispecific.ida!"]), ":3\r\n");
    assert_eq!(gateway.metric("groupcast_django_sent_total").await, 3.0);
}

#[tokio::test]
async fn a_publication_succeeds_even_if_forwarding_fails() {
    let server = RedisServer::start();
    let django = Django::core(&server).with(json!({}), "send = [\"*\"]\ngroups = []\n");
    let gateway = gateway(&django).await;
    let mut ana = member(&gateway, "ana").await;
    server.ask(&["SET", "asgi:group:sala_0", "no sorted set"]);
    gateway.publish("sala_0", json!({"type": "aviso"})).await;
    assert_eq!(ana.event().await, json!({"type": "aviso"}));
    gateway.metric_reaches("groupcast_django_dropped_total{reason=\"redis\"}", 1.0).await;
}

#[tokio::test]
async fn forwards_nothing_unless_configured() {
    let server = RedisServer::start();
    let django = Django::core(&server).with(json!({}), "send = [\"pedido.*\"]\n");
    let gateway = gateway(&django).await;
    let mut consumer = Python::consumer(&consumers(&django, json!({}))).await;
    let mut view = Python::layer(&django.options(json!({})));
    gateway.publish("sala_0", json!({"type": "propia"})).await;
    view.call(json!(["group_send", "sala_0", {"type": "ajena"}])).await;
    assert_eq!(consumer.line().await, json!({"type": "ajena"}));
}

#[tokio::test]
async fn forwards_to_another_cluster_which_sends_nothing_back() {
    for pubsub in [false, true] {
        let server = RedisServer::start();
        let django = if pubsub { Django::pubsub(&server) } else { Django::core(&server) };
        let django = django.with(json!({}), SEND);
        let north = Gateway::with(&django.cluster("norte")).await;
        let south = Gateway::with(&django.cluster("sur")).await;
        north.ready().await;
        south.ready().await;
        let mut clients = [member(&north, "ana").await, member(&south, "luis").await];
        let mut consumer = Python::consumer(&consumers(&django, json!({}))).await;
        for n in 0..10 {
            let event = json!({"type": "paso", "n": n});
            [&north, &south][n % 2].publish("sala_0", event.clone()).await;
            for client in &mut clients {
                assert_eq!(client.event().await, event);
            }
            assert_eq!(consumer.line().await, event);
        }
    }
}

#[tokio::test]
async fn delivers_to_one_browser_by_its_channel_name() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let gateways = [gateway(&django).await, gateway(&django).await];
    let mut ana = gateways[0].v1("ana").await;
    let mut luis = gateways[1].v1("luis").await;
    let mut view = Python::layer(&django.options(json!({})));
    let names = [channel_of(&gateways[0], "ana").await, channel_of(&gateways[1], "luis").await];
    for n in 0..3 {
        for (name, client) in names.iter().zip([&mut ana, &mut luis]) {
            let event = json!({"type": "directo", "a": name, "n": n});
            view.call(json!(["send", name, event])).await;
            assert_eq!(client.event().await, event);
        }
    }
}

#[tokio::test]
async fn a_channel_name_can_join_groups_of_django() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let gateway = gateway(&django).await;
    let mut ana = gateway.v1("ana").await;
    let mut luis = gateway.v1("luis").await;
    let mut view = Python::layer(&django.options(json!({})));
    let name = channel_of(&gateway, "ana").await;
    let group_send = |n: u64| json!(["group_send", "equipo", {"type": "paso", "n": n}]);
    view.call(json!(["group_add", "equipo", name])).await;
    view.call(group_send(1)).await;
    assert_eq!(ana.event().await, json!({"type": "paso", "n": 1}));
    view.call(json!(["group_discard", "equipo", name])).await;
    view.call(group_send(2)).await;
    let other = channel_of(&gateway, "luis").await;
    view.call(json!(["group_add", "equipo", other])).await;
    view.call(group_send(3)).await;
    assert_eq!(luis.event().await, json!({"type": "paso", "n": 3}));
    view.call(json!(["send", name, {"type": "fin"}])).await;
    assert_eq!(ana.event().await, json!({"type": "fin"}), "it received nothing in between");
}
