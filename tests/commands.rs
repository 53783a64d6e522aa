//! The `groupcast` command: exit codes, output, log.

use std::net::{TcpListener, TcpStream};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Folder, Running, Socket, request};

const SERVING: &str = "
[listen]
public = \"127.0.0.1:0\"
api = \"127.0.0.1:0\"
[log]
format = \"json\"
[[auth.key]]
algorithm = \"HS256\"
secret = \"0123456789abcdef0123456789abcdef\"
[[grant]]
allow = [\"join\"]
groups = [\"usuario_{sub}\"]
";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_bad_configuration_exits_with_64_and_prints_one_sentence() {
    let folder = Folder::with("[limits]\nframe_brust = 3\n");
    for command in ["serve", "check", "dev"] {
        let output = folder.output(&[command]);
        assert_eq!(output.status.code(), Some(64), "{command}");
        let printed = text(&output.stderr);
        assert!(printed.starts_with("groupcast: gateway.toml:2:1: unknown field"), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
    }
}

#[test]
fn a_bad_value_is_reported_with_its_location_and_what_is_allowed() {
    let cases = [
        ("[conections]\nmax = 1\n", &["gateway.toml:1:2", "conections", "connections"][..]),
        ("[limits]\nmax_frame_bytes = \"16KB\"\n", &["gateway.toml:2", "16KB", "256KiB"]),
        ("[connections]\nping = 25\n", &["gateway.toml:2", "25", "10s"]),
        ("[connections]\nping = \"0s\"\n", &["connections.ping", "0s", "1s to 24h"]),
        ("[connections]\nper_user = 0\n", &["connections.per_user", "0", "at least 1"]),
        (
            "[limits]\nmax_event_bytes = \"1GiB\"\n",
            &["limits.max_event_bytes", "1GiB", "outbox_bytes"],
        ),
        (
            "[[limits.group]]\npattern = \"*\"\noverflow = \"drop\"\n",
            &["gateway.toml:3", "drop", "drop_oldest"],
        ),
        ("[[auth.key]]\nalgorithm = \"none\"\nsecret = \"x\"\n", &["auth.key", "none", "HS256"]),
        ("[[grant]]\nallow = [\"fly\"]\n", &["gateway.toml:2", "fly", "join"]),
        ("[auth]\nallowed_origins = [\"*\"]\n", &["auth.allowed_origins", "*", "https://"]),
        ("listen = 8080", &["gateway.toml:1:10", "8080"]),
        (
            "[log]\nlevel = \"laut\"\n[[auth.key]]\nalgorithm = \"HS256\"\n\
             secret = \"0123456789abcdef0123456789abcdef\"\n",
            &["log.level", "laut", "debug"],
        ),
    ];
    for (configuration, words) in cases {
        let output = Folder::with(configuration).output(&["check"]);
        assert_eq!(output.status.code(), Some(64), "{configuration}");
        let printed = text(&output.stderr);
        for word in words {
            assert!(
                printed.contains(word),
                "{word:?} is missing in\n{printed}\nof\n{configuration}"
            );
        }
    }
}

#[test]
fn a_bad_environment_variable_is_named() {
    let folder = Folder::with(SERVING);
    let mut command = folder.groupcast(&["check"]);
    let output = command.env("GROUPCAST_CONNECTIONS_PER_USER", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let printed = text(&output.stderr);
    assert!(
        printed.contains("GROUPCAST_CONNECTIONS_PER_USER: expected a whole number"),
        "{printed}"
    );
}

#[test]
fn a_configuration_file_that_is_named_must_exist() {
    let output = Folder::with(SERVING).output(&["check", "--config", "other.toml"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("other.toml cannot be read: No such file"));
}

#[test]
fn refuses_to_serve_without_a_key_and_says_how_to_make_one() {
    let output = Folder::with("").output(&["serve"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("[[auth.key]]"), "{}", text(&output.stderr));
}

#[test]
fn a_port_in_use_exits_with_1_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::with(SERVING);
    let output =
        folder.groupcast(&["serve"]).env("GROUPCAST_LISTEN_API", &address).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stderr);
    assert!(printed.contains("listen.api") && printed.contains(&address), "{printed}");
}

#[test]
fn the_first_json_line_has_the_addresses_and_sigterm_exits_with_0() {
    let folder = Folder::with(SERVING);
    let mut running = Running::start(&mut folder.groupcast(&["serve"]));
    let (public, api) = running.addresses();
    for address in [public, api] {
        TcpStream::connect(address).unwrap();
    }
    running.signal(Signal::SIGTERM);
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn check_explains_the_configuration_without_its_secrets() {
    let output = Folder::with(SERVING).output(&["check"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in ["ws://127.0.0.1:0", "HS256", "usuario_{sub}", "256 KiB", "warning: "] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
    assert!(!printed.contains("0123456789abcdef"), "{printed}");
}

#[test]
fn check_tells_what_is_received_through_redis() {
    let redis = "[layer]\nkind = \"redis\"\n";
    for (more, parts) in [
        (
            "ingress = false\n",
            ["group_send  not received: channels.receive is empty", "ingress     not received"],
        ),
        (
            "[channels]\nreceive = [\"core\"]\ngroups = [\"sala_*\"]\n",
            [
                "group_send  received from core, prefix \"asgi\", groups sala_*",
                "ingress     received from the stream groupcast:ingress",
            ],
        ),
    ] {
        let output = Folder::with(&format!("{SERVING}{redis}{more}")).output(&["check"]);
        let printed = text(&output.stdout);
        for part in parts {
            assert!(printed.contains(part), "{part} is missing in\n{printed}");
        }
    }
}

#[test]
fn makes_a_token_that_explain_accepts() {
    let folder = Folder::with(SERVING);
    let made = folder.output(&["token", "--sub", "7", "--grant", "join=pedido.*"]);
    let token = text(&made.stdout).trim();
    assert_eq!(token.split('.').count(), 3, "{}", text(&made.stderr));
    for (name, code) in [("pedido.42", 0), ("usuario_7", 0), ("usuario_8", 1)] {
        let explained = folder.output(&["explain", "--token", token, "join", name]);
        assert_eq!(explained.status.code(), Some(code), "{}", text(&explained.stdout));
    }
    let by_sub = folder.output(&["explain", "--sub", "8", "join", "usuario_8"]);
    assert_eq!(by_sub.status.code(), Some(0), "{}", text(&by_sub.stdout));
}

#[test]
fn prints_no_token_that_the_gateway_would_refuse() {
    let folder = Folder::with(SERVING);
    let output = folder.output(&["token", "--sub", "7", "--claim", "exp=1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("expired"), "{}", text(&output.stderr));
}

#[test]
fn dev_prints_its_instructions_in_the_language_of_the_environment() {
    let folder = Folder::with("");
    for (locale, opening) in
        [("C", "Groupcast is running"), ("es_MX.UTF-8", "Groupcast está en marcha")]
    {
        let mut command =
            folder.groupcast(&["dev", "--port", "0", "--api-port", "0", "--sub", "ana"]);
        let mut running = Running::start(command.env("LC_ALL", locale));
        let mut printed = String::new();
        while !printed.contains("Ctrl-C") {
            let line = running.line();
            assert!(!line.is_empty(), "the output ends with Ctrl-C: {printed}");
            printed.push_str(&line);
        }
        assert!(printed.starts_with(opening), "{printed}");
        for part in ["/groups/user_ana/send", "Authorization: Bearer ", "http://127.0.0.1:"] {
            assert!(printed.contains(part), "{part} is missing in\n{printed}");
        }
    }
}

#[tokio::test]
async fn the_commands_that_dev_prints_work_as_printed() {
    let folder = Folder::with("");
    let mut running =
        Running::start(&mut folder.groupcast(&["dev", "--port", "0", "--api-port", "0"]));
    let mut printed = String::new();
    while !printed.contains("Ctrl-C") {
        let line = running.line();
        assert!(!line.is_empty(), "the output ends with Ctrl-C: {printed}");
        printed.push_str(&line);
    }
    let after = |mark: &str| {
        let rest = printed.split(mark).nth(1).unwrap_or_else(|| panic!("no {mark:?} in {printed}"));
        rest.split(['\n', '/', '\'']).next().unwrap().trim()
    };
    let public = after("Page         http://").parse().unwrap();
    let api = after("curl http://").parse().unwrap();
    let offer = ("Sec-WebSocket-Protocol", groupcast::protocol::V1);
    let mut socket = Socket::open(public, "/ws", &[offer]).await;
    socket.hello(after("Token ")).await;
    assert_eq!(socket.welcome().await["groups"], json!([{"group": "user_7"}]));
    let key = format!("Authorization: Bearer {}", after("Authorization: Bearer "));
    let headers = [key.as_str(), "Content-Type: application/json"];
    let event = br#"{"type":"aviso","texto":"hello"}"#;
    let answer = request(api, "POST /groups/user_7/send", &headers, event).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(socket.event().await, json!({"type": "aviso", "texto": "hello"}));
    for path in ["/", "/page.js", "/page.css", "/dev/session", "/client/v1/groupcast.js"] {
        assert_eq!(request(public, &format!("GET {path}"), &[], b"").await.status, 200, "{path}");
    }
}
