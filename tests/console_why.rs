//! The console answers why a user did not see an event: each cause, made to happen.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    BackEnd, Django, Endpoints, Gateway, Instance, Opcode, Raw, RedisServer, Socket, claims,
    eventually, sign, token,
};
use crate::two_instances::over;

/// What the console answers, in English.
async fn why(at: &Endpoints, sub: &str, group: &str) -> Value {
    let line = format!("GET /console/why?sub={sub}&group={group}");
    let answer = at.ask(&line, &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// The sentences of one code in both languages, once it is the cause.
async fn told(at: &Endpoints, sub: &str, group: &str, code: &str) -> (String, String) {
    let mut last = Value::Null;
    eventually(&format!("the cause {code}"), async || {
        last = why(at, sub, group).await;
        last["cause"] == code
    })
    .await;
    let line = format!("GET /console/why?sub={sub}&group={group}&language=es");
    let spanish = at.ask(&line, &[], "").await.json();
    let text = |answer: &Value| {
        let sentences = answer["sentences"].as_array().unwrap();
        let found = sentences.iter().find(|sentence| sentence["code"] == code).unwrap();
        let page = found["page"].as_str().unwrap();
        assert!(page.ends_with(&format!("#{code}")), "{page}");
        found["text"].as_str().unwrap().to_owned()
    };
    let texts = (text(&last), text(&spanish));
    println!("{code}: {}\n{code}: {}", texts.0, texts.1);
    texts
}

fn holds(text: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| text.contains(part)), "{text:?} lacks one of {parts:?}");
}

#[tokio::test]
async fn not_connected() {
    let gateway = Gateway::start().await;
    let (english, spanish) = told(&gateway, "7", "usuario_7", "not_connected").await;
    holds(&english, &["User 7 is not connected to any instance"]);
    holds(&spanish, &["El usuario 7 no está conectado a ninguna instancia"]);
    gateway.v1("7").await.close(1000).await;
    gateway.members("usuario_7", 0).await;
    let (english, _) = told(&gateway, "7", "usuario_7", "not_connected").await;
    holds(&english, &["ended", "with code 1000 (the client closed)"]);
}

#[tokio::test]
async fn expired_token() {
    let gateway = Gateway::with("[auth]\nleeway = \"0s\"\n").await;
    let mut socket = gateway.v1_silent("/ws").await;
    socket.hello(&sign(&claims("7", 2))).await;
    socket.welcome().await;
    assert_eq!(socket.frame().await["type"], "auth_due");
    assert_eq!(socket.closed().await.0, 4401);
    let (english, _) = told(&gateway, "7", "usuario_7", "not_connected").await;
    holds(&english, &["with code 4401 (token expired)"]);
    let mut socket = gateway.v1_silent("/ws").await;
    socket.hello(&sign(&claims("7", -60))).await;
    assert_eq!(socket.closed().await.0, 4401);
    let (english, spanish) = told(&gateway, "7", "usuario_7", "token_refused").await;
    holds(&english, &["a token of user 7 was refused with code 4401", "expired"]);
    holds(&spanish, &["Hace", "se rechazó, con el código 4401", "usuario 7"]);
}

#[tokio::test]
async fn no_grant() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    let (english, _) = told(&gateway, "7", "jefes", "no_grant").await;
    holds(&english, &["User 7 is not in jefes and may not join it"]);
    socket.ask(json!({"type": "join", "groups": ["jefes"]})).await;
    let (english, spanish) = told(&gateway, "7", "jefes", "no_grant").await;
    holds(&english, &["User 7 asked to join jefes", "was refused", "no grant"]);
    holds(&spanish, &["pidió entrar en jefes", "ningún permiso"]);
}

#[tokio::test]
async fn other_group_name() {
    let gateway = Gateway::start().await;
    let _member = gateway.plain_member("7").await;
    let (english, spanish) = told(&gateway, "7", "usario-7", "other_group_name").await;
    holds(&english, &["User 7 is not in usario-7 but in usuario_7"]);
    holds(&spanish, &["no está en usario-7 sino en usuario_7"]);
}

#[tokio::test]
async fn not_joined() {
    let gateway = Gateway::start().await;
    let _socket = gateway.v1("7").await;
    let (english, _) = told(&gateway, "7", "sala_1", "not_joined").await;
    holds(&english, &["User 7 may join sala_1 (configured grant[0]", "has not"]);
}

/// A v1 member of `sala_1` that reads nothing.
async fn slow_member(gateway: &Gateway) -> Raw {
    let mut raw = Raw::connect_narrow(gateway.public).await;
    raw.upgrade("/ws", &["Sec-WebSocket-Protocol: groupcast.v1.json"]).await;
    let hello = json!({"type": "hello", "token": token("7")}).to_string();
    raw.frame(Opcode::Text, hello.as_bytes()).await;
    raw.frame(Opcode::Text, br#"{"type":"join","id":1,"groups":["sala_1"]}"#).await;
    assert!(raw.text().await.contains("welcome"));
    assert!(raw.text().await.contains("joined"));
    raw
}

/// More than the kernel takes for a narrow socket.
async fn flood(gateway: &Gateway, events: u64) {
    for n in 0..events {
        gateway.publish("sala_1", json!({"type": "x", "n": n, "x": "x".repeat(2000)})).await;
    }
}

#[tokio::test]
async fn slow() {
    let gateway = Gateway::with(
        "[limits]\nnotsent_lowat = \"4KiB\"\n\
         [[limits.group]]\npattern = \"sala_*\"\ncapacity = 20\n",
    )
    .await;
    let _slow = slow_member(&gateway).await;
    flood(&gateway, 200).await;
    let (english, spanish) = told(&gateway, "7", "sala_1", "slow").await;
    holds(&english, &["reads too slowly", "publication(s) of sala_1 were dropped"]);
    holds(&spanish, &["lee demasiado despacio", "de sala_1"]);
    let rows = gateway.ask("GET /console/connections?slow=yes&order=waiting", &[], "").await.json();
    assert_eq!(rows["connections"][0]["sub"], "7");
    assert!(rows["connections"][0]["waiting"].as_u64().unwrap() > 0, "{rows}");
}

#[tokio::test]
async fn expired() {
    let gateway = Gateway::with(
        "[limits]\nnotsent_lowat = \"4KiB\"\n\
         [[limits.group]]\npattern = \"sala_*\"\ncapacity = 1000\nexpiry = \"1s\"\n",
    )
    .await;
    let mut slow = slow_member(&gateway).await;
    // Less than the 256 KiB of an outbox.
    flood(&gateway, 100).await;
    let waiting = async || {
        let row = gateway.ask("GET /users/7", &[], "").await.json();
        row["connections"][0]["waiting"].as_u64().unwrap()
    };
    eventually("events to wait", async || waiting().await > 0).await;
    // Whole seconds of the shard's clock since the last of them, so that all are too old by then.
    let quiet = async || {
        let page = gateway.ask("GET /console/groups?search=sala_1", &[], "").await.json();
        page["groups"][0]["quiet"].as_u64().unwrap()
    };
    eventually("the events to be older than the expiry", async || quiet().await >= 2).await;
    // Reading makes room; what is too old by then is not written.
    while !slow.text().await.contains(r#""type":"gap""#) {}
    let (english, spanish) = told(&gateway, "7", "sala_1", "expired").await;
    holds(&english, &["publication(s) of sala_1 expired before the connection of user 7"]);
    holds(&spanish, &["de sala_1 caducaron"]);
}

#[tokio::test]
async fn mailbox_full() {
    let server = RedisServer::start();
    let config = json!({"capacity": 20});
    let one_box = Django::core(&server).with(config, "capacity = 20\nboxes = 1");
    let only = Instance::start(&one_box.gateway()).await;
    only.ready().await;
    let mut socket = only.v1("7").await;
    socket.join("sala_0").await;
    only.signal(Signal::SIGSTOP);
    eventually("the instance to stop", async || only.is_stopped()).await;
    one_box.send(0, &["sala_0"], 30).await;
    only.signal(Signal::SIGCONT);
    let (english, spanish) = told(&only, "7", "sala_0", "mailbox_full").await;
    holds(&english, &["the mailbox from which sala_0 is received was full"]);
    holds(&spanish, &["el buzón del que se recibe sala_0 estaba lleno"]);
    let log = only.ask("GET /console/log", &[], "").await.json();
    let lines = log["lines"].as_array().unwrap();
    let full = |line: &&Value| line["text"].as_str().unwrap().contains("mailbox full");
    assert!(lines.iter().any(|line| full(&line)), "{log}");
}

#[tokio::test]
async fn unlisted() {
    let gateway = Gateway::with(
        "[[route]]\npath = \"/ws\"\njoin = [\"usuario_{sub}\"]\nevents.aviso = {}\n\
         events.listo = {}\n",
    )
    .await;
    let _member = gateway.plain_member("7").await;
    gateway.publish("usuario_7", json!({"type": "oferta"})).await;
    let (english, spanish) = told(&gateway, "7", "usuario_7", "unlisted").await;
    holds(&english, &["The route /ws lists its events, and \"oferta\" is not among them: 1"]);
    holds(&spanish, &["La ruta /ws enumera sus eventos, y \"oferta\" no está entre ellos: no se"]);
}

#[tokio::test]
async fn other_cluster_or_database() {
    let server = RedisServer::start();
    let ours = Gateway::with(&over(&server)).await;
    let url = format!("{}/3", server.url());
    let theirs = format!("[layer]\nkind = \"redis\"\nurl = \"{url}\"\ncluster = \"tienda\"\n");
    let theirs = Gateway::with(&theirs).await;
    ours.ready().await;
    theirs.ready().await;
    let mut socket = ours.v1("7").await;
    socket.join("sala_1").await;
    theirs.publish("sala_1", json!({"type": "x"})).await;
    let (english, spanish) = told(&ours, "7", "sala_1", "nothing_sent").await;
    let parts = ["Nothing has been sent to sala_1 here", "cluster \"groupcast\" in database 0"];
    holds(&english, &parts);
    holds(&english, &["keys in database 3", "Another cluster is live: tienda"]);
    holds(&spanish, &["no se ha enviado nada a sala_1", "base de datos 3", "activo: tienda"]);
}

#[tokio::test]
async fn hook_refused() {
    let back_end = BackEnd::start();
    let gateway = Gateway::with(&back_end.configuration("")).await;
    back_end.control(json!({"status": 403, "body": {"code": "forbidden"}})).await;
    let cookie = [("Cookie", "sessionid=7")];
    let mut socket = Socket::open(gateway.public, "/ws", &cookie).await;
    assert_eq!(socket.closed().await.0, 4403);
    let (english, spanish) = told(&gateway, "7", "usuario_7", "hook_refused").await;
    holds(&english, &["refused by the connect hook", "code 4403", "answered 403"]);
    holds(&spanish, &["el connect hook rechazó 1", "4403"]);
}

#[tokio::test]
async fn gap() {
    let server = RedisServer::start();
    let gateway = Gateway::with(&over(&server)).await;
    gateway.ready().await;
    let mut socket = gateway.v1("7").await;
    socket.join("sala_1").await;
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    while socket.frame().await["type"] != "gap" {}
    let (english, spanish) = told(&gateway, "7", "sala_1", "gap").await;
    holds(&english, &["a gap in sala_1 was announced to user 7", "may be missing"]);
    holds(&spanish, &["un hueco en sala_1", "pueden faltar"]);
}

#[tokio::test]
async fn nothing_is_wrong() {
    let gateway = Gateway::start().await;
    let _member = gateway.plain_member("7").await;
    let answer = why(&gateway, "7", "usuario_7").await;
    assert_eq!(answer["cause"], Value::Null, "{answer}");
    let last = answer["sentences"].as_array().unwrap().last().unwrap();
    holds(last["text"].as_str().unwrap(), &["Everything sent to usuario_7 was written"]);
}

#[tokio::test]
async fn all_instances_are_asked_and_a_silent_one_is_named() {
    let server = RedisServer::start();
    let asked = Gateway::with(&over(&server)).await;
    let other = Instance::start(&over(&server)).await;
    asked.ready().await;
    other.ready().await;
    let mut socket = other.v1("7").await;
    socket.join("sala_1").await;
    asked.publish("sala_1", json!({"type": "x"})).await;
    assert_eq!(socket.event().await["type"], "x");
    eventually("the other instance to answer", async || {
        let answer = why(&asked, "7", "sala_1").await;
        answer["receipt"]["connections"].as_array().is_some_and(|all| all.len() == 1)
    })
    .await;
    let both = asked.ask("GET /console/snapshot", &[], "").await.json();
    assert_eq!(both["instances"].as_array().unwrap().len(), 2, "{both}");
    other.signal(Signal::SIGSTOP);
    eventually("the other instance to stop", async || other.is_stopped()).await;
    let answer = why(&asked, "7", "sala_1").await;
    other.signal(Signal::SIGCONT);
    assert_eq!(answer["silent"].as_array().unwrap().len(), 1, "{answer}");
    let last = answer["sentences"].as_array().unwrap().last().unwrap();
    assert_eq!(last["code"], "silent_instances");
}
