//! Calls of browsers reach the back end, signed and in order, and are answered.

use serde_json::{Value, json};

use crate::support::{BackEnd, Gateway, Received, Socket, eventually, sign};

const GRANTS: &str = "[[grant]]\ncalls = [\"*\"]\n";

const ROUTES: &str = r#"
[[route]]
path = "/ws"
join = ["usuario_{sub}"]

[[route]]
path = "/ws/tienda/{tienda}/"
call_errors = true

[[route]]
path = "/ws/mesa/{sala}/{lado}/"
"#;

async fn start() -> (BackEnd, Gateway) {
    start_with("").await
}

async fn start_with(more: &str) -> (BackEnd, Gateway) {
    let back_end = BackEnd::start();
    let configuration = back_end.configuration(more);
    let gateway = Gateway::with(&format!("{configuration}{GRANTS}{ROUTES}")).await;
    (back_end, gateway)
}

fn call(name: &str, data: Value) -> Value {
    json!({"type": "call", "name": name, "data": data})
}

/// A call that the back end answers with `answer`.
fn answered(answer: Value) -> Value {
    call("responde", json!({ "answer": answer }))
}

#[tokio::test]
async fn the_back_end_receives_caller_name_and_data_of_a_call() {
    let (_back_end, gateway) = start().await;
    let mut socket = gateway.v1_silent("/ws").await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let claims = json!({"sub": "7", "exp": now.as_secs() + 60, "grants": {"call": "eco"}});
    socket.hello(&sign(&claims)).await;
    let connection = socket.welcome().await["connection"].take();
    let mut asked = call("eco", json!({"id": 31}));
    asked["key"] = json!("k-1");
    let answer = socket.ask(asked).await;
    let body = json!({
        "call": "eco", "data": {"id": 31}, "connection": connection, "sub": "7", "claims": {},
        "session": null, "path": "/ws",
    });
    assert_eq!(answer, json!({"type": "result", "data": {"body": body, "key": "k-1"}}));
    let nothing = socket.ask(call("nada", Value::Null)).await;
    assert_eq!(nothing, json!({"type": "result", "data": null}));
}

#[tokio::test]
async fn a_plain_message_is_a_call_whose_result_comes_as_a_bare_message() {
    let (back_end, gateway) = start().await;
    let mut socket = gateway.plain("/ws/tienda/norte/", "7").await;
    socket.send_text(r#"{"action":"nada"}"#).await;
    let call = r#"{"action": "responde", "data": 1, "answer": {"result": {"n": 1.50}}}"#;
    socket.send_text(call).await;
    // The test's back end finds `answer` in the message of the browser, which is the data.
    assert_eq!(socket.text().await, r#"{"n": 1.5}"#, "verbatim; a 204 sends nothing");
    let calls = back_end.received().await["calls"].take();
    assert_eq!(calls[1]["data"], serde_json::from_str::<Value>(call).unwrap());
    assert_eq!(calls[1]["path"], "/ws/tienda/norte/", "the path of the connection");
}

#[tokio::test]
async fn a_parameter_that_looks_like_another_does_not_change_the_path_of_a_call() {
    let (_back_end, gateway) = start().await;
    let path = "/ws/mesa/{lado}/norte/";
    let mut socket = gateway.plain(path, "7").await;
    socket.send_text(r#"{"action":"eco"}"#).await;
    assert_eq!(socket.frame().await["body"]["path"], path);
}

#[tokio::test]
async fn sends_the_calls_of_a_plain_connection_one_at_a_time_and_in_order() {
    let (back_end, gateway) = start().await;
    back_end.control(json!({"hold": true})).await;
    let mut socket = gateway.plain("/ws/tienda/norte/", "7").await;
    for n in 0..20 {
        socket.send(json!({"action": "espera", "n": n})).await;
    }
    eventually("the first call to arrive", async || back_end.received().await["busy"] == 1).await;
    // In the meantime others are served, and it receives events.
    gateway.send("/users/7/send", json!({"type": "hola"})).await;
    assert_eq!(socket.frame().await, json!({"type": "hola"}));
    assert_eq!(back_end.received().await["calls"].as_array().unwrap().len(), 1);
    back_end.control(json!({})).await;
    for n in 0..20 {
        assert_eq!(socket.frame().await["n"], n);
    }
    assert_eq!(back_end.received().await["most"], 1);
}

#[tokio::test]
async fn a_slow_back_end_delays_calls_and_nothing_else() {
    let (back_end, gateway) = start_with("calls_parallel = 3").await;
    back_end.control(json!({"hold": true})).await;
    let mut callers = Vec::new();
    for sub in 0..4 {
        let mut socket = gateway.v1(&format!("c{sub}")).await;
        for id in 0..8 {
            socket.send(json!({"type": "call", "id": id, "name": "espera", "data": sub})).await;
        }
        callers.push(socket);
    }
    gateway.metric_reaches("groupcast_calls_waiting", 29.0).await;
    let mut other = gateway.v1("otro").await;
    other.join("sala_1").await;
    let sent = json!({"type": "send", "group": "sala_1", "data": {"type": "x"}, "echo": false});
    assert_eq!(other.ask(sent).await["type"], "result");
    gateway.publish("sala_1", json!({"type": "y"})).await;
    assert_eq!(other.event().await, json!({"type": "y"}));
    assert_eq!(gateway.metric("groupcast_calls_in_flight").await, 3.0);
    back_end.control(json!({})).await;
    for (sub, mut socket) in callers.into_iter().enumerate() {
        let mut ids: Vec<u64> = Vec::new();
        for _ in 0..8 {
            let answer = socket.frame().await;
            assert_eq!((&answer["type"], &answer["data"]), (&json!("result"), &json!(sub)));
            ids.push(answer["id"].as_u64().unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..8).collect::<Vec<_>>());
    }
    assert_eq!(back_end.received().await["most"], 3);
}

#[tokio::test]
async fn a_users_many_calls_wait_for_a_strangers_turn() {
    let (back_end, gateway) = start_with("calls_parallel = 1").await;
    back_end.control(json!({"hold": true})).await;
    let (mut many, mut one) = (gateway.v1("muchas").await, gateway.v1("una").await);
    for _ in 0..12 {
        many.send(json!({"type": "call", "id": 1, "name": "espera", "data": 1})).await;
    }
    gateway.metric_reaches("groupcast_calls_waiting", 11.0).await;
    one.send(json!({"type": "call", "id": 1, "name": "espera", "data": 1})).await;
    gateway.metric_reaches("groupcast_calls_waiting", 12.0).await;
    back_end.control(json!({})).await;
    assert_eq!(one.frame().await["type"], "result");
    let received = back_end.received().await["calls"].take();
    let callers: Vec<_> = received.as_array().unwrap().iter().map(|call| &call["sub"]).collect();
    let turn = callers.iter().position(|sub| **sub == "una");
    assert!(turn <= Some(2), "{callers:?}");
}

#[tokio::test]
async fn an_answer_can_change_the_memberships_of_the_connection() {
    let (_back_end, gateway) = start().await;
    let mut socket = gateway.v1("7").await;
    let mut bystander = gateway.v1("7").await;
    let joins = answered(json!({"join": ["pedido.42"], "leave": ["usuario_7"], "result": 1}));
    let frames = in_any_order(&mut socket, joins, 3).await;
    let left = json!({"type": "left", "groups": [{"group": "usuario_7"}], "reason": "backend"});
    let joined = json!({"type": "joined", "groups": [{"group": "pedido.42"}], "reason": "backend"});
    for frame in [left, joined, json!({"type": "result", "id": 1, "data": 1})] {
        assert!(frames.contains(&frame), "{frame} is not in {frames:?}");
    }
    gateway.publish("usuario_7", json!({"type": "antes"})).await;
    gateway.publish("pedido.42", json!({"type": "listo"})).await;
    assert_eq!(socket.event().await, json!({"type": "listo"}));
    assert_eq!(bystander.event().await, json!({"type": "antes"}), "only that connection joined");
}

/// Sends `frame` as request 1. Returns the next `count` frames.
async fn in_any_order(socket: &mut Socket, mut frame: Value, count: usize) -> Vec<Value> {
    frame["id"] = json!(1);
    socket.send(frame).await;
    let mut frames = Vec::new();
    for _ in 0..count {
        frames.push(socket.frame().await);
    }
    frames
}

#[tokio::test]
async fn an_answer_can_close_the_connection_after_its_result() {
    let (_back_end, gateway) = start().await;
    let mut socket = gateway.v1("7").await;
    let answer = socket.ask(answered(json!({"result": "adiós", "close": 4403}))).await;
    assert_eq!(answer["data"], "adiós");
    assert_eq!(socket.closed().await.0, 4403);
    let mut plain = gateway.plain("/ws/tienda/norte/", "7").await;
    plain.send(json!({"action": "responde", "answer": {"close": 4409}})).await;
    assert_eq!(plain.closed().await.0, 4409);
}

#[tokio::test]
async fn reports_call_errors_to_v1_clients_and_to_plain_routes_that_opt_in() {
    let (_back_end, gateway) = start().await;
    let body = json!({"code": "ya_leida", "message": "Ya estaba leída"});
    let failing = json!({"status": 409, "body": body});
    let expected =
        json!({"type": "error", "code": "ya_leida", "message": "Ya estaba leída", "retry": false});
    let mut v1 = gateway.v1("7").await;
    assert_eq!(v1.ask(call("falla", failing.clone())).await, expected);
    assert_eq!(v1.ask(call("otra", Value::Null)).await["code"], "not_found");
    let failure = v1.ask(call("falla", json!({"status": 500}))).await;
    assert_eq!((&failure["code"], &failure["retry"]), (&json!("unavailable"), &json!(true)));

    let mut call = failing.clone();
    call["action"] = json!("falla");
    let mut reporting = gateway.plain("/ws/tienda/norte/", "7").await;
    reporting.send(call.clone()).await;
    assert_eq!(reporting.frame().await, expected);
    let mut silent = gateway.plain("/ws", "7").await;
    silent.send(call).await;
    silent.send(json!({"action": "responde", "answer": {"result": "sigue"}})).await;
    assert_eq!(silent.text().await, r#""sigue""#, "the error before it is not reported");
    let refused = r#"groupcast_calls_failed_total{reason="refused"}"#;
    assert_eq!(gateway.metric(refused).await, 4.0);
    assert_eq!(gateway.metric(r#"groupcast_calls_failed_total{reason="failed"}"#).await, 1.0);
    let counted = r#"groupcast_call_seconds_count{outcome="accepted"}"#;
    assert_eq!(gateway.metric(counted).await, 1.0);
}

#[tokio::test]
async fn does_not_ask_the_back_end_about_a_call_without_a_grant() {
    let back_end = BackEnd::start();
    let gateway = Gateway::with(&format!("{}{ROUTES}", back_end.configuration(""))).await;
    let mut v1 = gateway.v1("7").await;
    assert_eq!(v1.ask(call("eco", Value::Null)).await["code"], "forbidden");
    let mut plain = gateway.plain("/ws/tienda/norte/", "7").await;
    plain.send(json!({"action": "eco"})).await;
    assert_eq!(plain.frame().await["code"], "forbidden", "reported where the route opts in");
    assert_eq!(back_end.received().await["calls"], json!([]));
}

#[tokio::test]
async fn reports_a_back_end_that_goes_away_as_unavailable() {
    let (back_end, gateway) = start_with("timeout = \"300ms\"").await;
    let mut socket = gateway.v1("7").await;
    back_end.control(json!({"hold": true})).await;
    let late = socket.ask(call("espera", Value::Null)).await;
    assert_eq!((&late["code"], &late["retry"]), (&json!("timeout"), &json!(true)));
    drop(back_end);
    let gone = socket.ask(call("eco", Value::Null)).await;
    assert_eq!((&gone["code"], &gone["retry"]), (&json!("unavailable"), &json!(true)));
    for reason in ["timeout", "unreachable"] {
        let name = format!("groupcast_calls_failed_total{{reason=\"{reason}\"}}");
        assert_eq!(gateway.metric(&name).await, 1.0, "{reason}");
    }
    assert_eq!(socket.close(1000).await, Received::Close(1000, String::new()));
}
