//! Plain WebSockets: groups by the route, events shaped by the route, no protocol frames.

use serde_json::json;

use crate::support::{Gateway, Received, Socket, token};

const SHOP: &str = r#"
[[route]]
path = "/ws/notificaciones/"
join = ["notificaciones_usuario_{sub}", "usuario_{sub}"]
welcome = { type = "connection_established", message = "Conectado" }
events.notificacion_nueva = { as = "nueva_venta", keep = ["titulo", "monto"] }
events.aviso = { body = "message" }
events.imagen_procesada = {}

[[route]]
path = "/ws/chat/{sala}/"
join = ["chat_{sala}"]
allow = "anyone"

[[route]]
path = "/ws"
join = ["usuario_{sub}"]
"#;

async fn shop() -> (Gateway, Socket) {
    let gateway = Gateway::with(SHOP).await;
    let mut socket = gateway.plain("/ws/notificaciones/", "7").await;
    let welcome = json!({"type": "connection_established", "message": "Conectado"});
    assert_eq!(socket.frame().await, welcome, "the welcome comes first");
    (gateway, socket)
}

#[tokio::test]
async fn a_route_renames_events_and_keeps_listed_members() {
    let (gateway, mut socket) = shop().await;
    let event = r#"{"type":"notificacion.nueva","titulo":"Venta","secreto":1,"monto":1.50}"#;
    gateway.ask("POST /groups/notificaciones_usuario_7/send", &[], event).await;
    assert_eq!(socket.text().await, r#"{"type":"nueva_venta","titulo":"Venta","monto":1.50}"#);
}

#[tokio::test]
async fn sends_the_body_member_alone_and_unchanged() {
    let (gateway, mut socket) = shop().await;
    for (message, shown) in [(json!("hola"), "hola"), (json!({"a": 1}), r#"{"a":1}"#)] {
        gateway.publish("usuario_7", json!({"type": "aviso", "message": message})).await;
        assert_eq!(socket.next().await, Received::Text(shown.to_owned()));
    }
}

#[tokio::test]
async fn counts_events_that_a_route_does_not_list_and_sends_none() {
    let (gateway, mut socket) = shop().await;
    gateway.publish("usuario_7", json!({"type": "otra_cosa"})).await;
    gateway.publish("usuario_7", json!({"type": "imagen_procesada", "imagen_id": 42})).await;
    let shown = json!({"type": "imagen_procesada", "imagen_id": 42});
    assert_eq!(socket.frame().await, shown);
    assert_eq!(gateway.metric(r#"groupcast_dropped_total{reason="unlisted"}"#).await, 1.0);
    let report = gateway.ask("GET /groups/usuario_7", &[], "").await.json();
    assert_eq!((&report["sent"], &report["dropped"]["unlisted"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn each_route_shapes_one_publication_in_its_own_way() {
    let (gateway, mut shaped) = shop().await;
    let mut bare = gateway.plain("/ws", "7").await;
    let mut v1 = gateway.v1("7").await;
    gateway.members("usuario_7", 3).await;
    let event = json!({"type": "notificacion_nueva", "titulo": "Venta", "secreto": 1});
    gateway.publish("usuario_7", event.clone()).await;
    assert_eq!(shaped.frame().await, json!({"type": "nueva_venta", "titulo": "Venta"}));
    assert_eq!(bare.frame().await, event);
    assert_eq!(v1.event().await, event, "v1 clients receive events unchanged");
}

#[tokio::test]
async fn sends_the_routes_welcome_to_plain_clients_only() {
    let (gateway, _plain) = shop().await;
    let mut v1 = gateway.v1_silent("/ws/notificaciones/").await;
    v1.hello(&token("8")).await;
    let groups = json!([{"group": "notificaciones_usuario_8"}, {"group": "usuario_8"}]);
    assert_eq!(v1.welcome().await["groups"], groups);
    gateway.publish("usuario_8", json!({"type": "x"})).await;
    assert_eq!(v1.event().await, json!({"type": "x"}));
}

#[tokio::test]
async fn a_path_parameter_names_the_group() {
    let gateway = Gateway::with(SHOP).await;
    let (mut lobby, mut patio) =
        (gateway.plain("/ws/chat/lobby/", "7").await, gateway.plain("/ws/chat/patio/", "7").await);
    gateway.members("chat_lobby", 1).await;
    gateway.members("chat_patio", 1).await;
    gateway.publish("chat_lobby", json!({"type": "uno"})).await;
    gateway.publish("chat_patio", json!({"type": "dos"})).await;
    assert_eq!(lobby.frame().await, json!({"type": "uno"}));
    assert_eq!(patio.frame().await, json!({"type": "dos"}));
}

#[tokio::test]
async fn refuses_a_path_parameter_that_makes_an_illegal_name() {
    let gateway = Gateway::with(SHOP).await;
    for path in ["/ws/chat/a%20b/", "/ws/chat/%6Cobby/", &format!("/ws/chat/{}/", "x".repeat(95))] {
        let (code, reason) = gateway.plain(path, "7").await.closed().await;
        assert_eq!((code, &reason["reason"]), (4403, &json!("a group name is not legal")));
    }
    let cause = r#"groupcast_auth_failures_total{cause="illegal_name"}"#;
    assert_eq!(gateway.metric(cause).await, 3.0);
}

#[tokio::test]
async fn closes_a_path_without_a_route_with_its_reason() {
    let gateway = Gateway::with(SHOP).await;
    for path in ["/", "/ws/", "/ws/chat/", "/ws/chat//", "/ws/notificaciones", "/otra"] {
        let (code, reason) = gateway.plain(path, "7").await.closed().await;
        assert_eq!((code, &reason["reason"]), (4403, &json!("no such path")), "{path}");
    }
    assert_eq!(gateway.metric(r#"groupcast_refusals_total{reason="no_route"}"#).await, 6.0);
}

#[tokio::test]
async fn never_answers_a_plain_client_without_a_back_end() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.plain_member("7").await;
    let messages = [
        "hola",
        "[]",
        "{}",
        r#"{"type":""}"#,
        r#"{"type":"otra"}"#,
        r#"{"action":"marcar_leida"}"#,
    ];
    for _ in 0..3 {
        for text in messages {
            socket.send_text(text).await;
        }
    }
    gateway.publish("usuario_7", json!({"type": "x"})).await;
    assert_eq!(socket.frame().await, json!({"type": "x"}));
    assert_eq!(
        socket.close(1000).await,
        Received::Close(1000, String::new()),
        "all of it was read"
    );
}
