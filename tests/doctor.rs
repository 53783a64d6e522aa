//! `groupcast doctor` with real servers and the keys that Django's own library writes.

use std::net::TcpListener;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{BackEnd, Django, Folder, Python, RedisServer, Running};

const COMMON_CONFIG: &str = "
[listen]
public = \"127.0.0.1:0\"
api = \"127.0.0.1:0\"
[log]
format = \"json\"
[[auth.key]]
algorithm = \"HS256\"
secret = \"0123456789abcdef0123456789abcdef\"
";

fn folder(server: &RedisServer, more: &str) -> Folder {
    let url = server.url();
    Folder::with(&format!("{COMMON_CONFIG}[layer]\nkind = \"redis\"\nurl = \"{url}\"\n{more}"))
}

/// Like [`folder`], with a Redis user that has the documented rights, changed by `more`.
fn restricted(server: &RedisServer, more: &[&str], channels: &str) -> Folder {
    let document = include_str!("../docs/redis.md");
    let line = document.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    let words: Vec<_> = line.split(' ').chain(more.iter().copied()).collect();
    assert_eq!(server.ask(&words), "+OK\r\n", "{words:?}");
    let url = server.url().replace("redis://", "redis://groupcast:secret@");
    Folder::with(&format!("{COMMON_CONFIG}[layer]\nkind = \"redis\"\nurl = \"{url}\"\n{channels}"))
}

fn stdout_of(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The findings of `doctor --json`, and its exit code.
fn doctor(folder: &Folder, more: &[&str]) -> (Findings, i32) {
    let mut arguments = vec!["doctor", "--json"];
    arguments.extend(more);
    finish(&mut folder.groupcast(&arguments))
}

fn finish(command: &mut Command) -> (Findings, i32) {
    let output = command.output().unwrap();
    let report = serde_json::from_str(&stdout_of(&output)).unwrap();
    (Findings(report), output.status.code().unwrap())
}

struct Findings(Value);

impl Findings {
    #[track_caller]
    fn get(&self, what: &str) -> &Value {
        let list = self.0["findings"].as_array().unwrap();
        let found = list.iter().find(|finding| finding["what"] == what);
        found.unwrap_or_else(|| panic!("no {what:?} in {:#}", self.0["findings"]))
    }

    #[track_caller]
    fn assert(&self, what: &str, level: &str, words: &[&str]) {
        let finding = self.get(what);
        assert_eq!(finding["level"], level, "{finding:#}");
        let part = |name: &str| finding[name].as_str().unwrap();
        let text = format!("{} {}", part("found"), part("advice"));
        for word in words {
            assert!(text.contains(word), "{word:?} is missing in {finding:#}");
        }
    }

    fn problems(&self) -> Vec<&Value> {
        let list = self.0["findings"].as_array().unwrap();
        list.iter().filter(|finding| finding["level"] != "ok").collect()
    }
}

#[test]
fn the_documented_rights_suffice_for_every_check() {
    let server = RedisServer::start();
    for channels in ["", "[channels]\nreceive = [\"core\", \"pubsub\"]\n"] {
        let (findings, code) = doctor(&restricted(&server, &[], channels), &[]);
        findings.assert("rights", "ok", &[]);
        findings.assert("tracking", "ok", &["at once"]);
        findings.assert("redis version", "ok", &["."]);
        findings.assert("clock", "ok", &[]);
        assert_eq!((findings.problems().len(), code), (0, 0), "{:#}", findings.0);
    }
    assert_eq!(server.ask(&["DBSIZE"]), ":0\r\n", "the doctor leaves nothing behind");
}

#[test]
fn names_a_missing_right() {
    let server = RedisServer::start();
    let core = "[channels]\nreceive = [\"core\"]\n";
    let cases: &[(&[&str], &[&str])] = &[
        (&["-hmget"], &["HMGET"]),
        (&["-zadd", "-xadd"], &["ZADD", "XADD"]),
        (&["-evalsha"], &["EVALSHA"]),
        (&["-eval"], &["EVAL"]),
        (&["-publish"], &["PUBLISH"]),
        (&["-del"], &["DEL"]),
        (&["-subscribe"], &["SUBSCRIBE groupcast:group:"]),
        (&["-unsubscribe"], &["UNSUBSCRIBE groupcast:group:"]),
        (
            &["resetkeys", "~groupcast:*", "~asgi:group:*"],
            &["ZCARD asgigroupcast.groupcast.0!", "ZREM"],
        ),
        (&["resetkeys", "~groupcast:*", "~asgigroupcast.*"], &["ZADD asgi:group:", "EXPIRE"]),
        (&["resetchannels", "&groupcast:group:*"], &["SUBSCRIBE groupcast:control"]),
    ];
    for (rights, words) in cases {
        let (findings, code) = doctor(&restricted(&server, rights, core), &[]);
        findings.assert("rights", "fail", words);
        findings.assert("rights", "fail", &["ACL SETUSER"]);
        assert_eq!(code, 1, "{rights:?}");
        assert_eq!(server.ask(&["KEYS", "*"]), "*0\r\n", "{rights:?}");
    }
    let (findings, code) = doctor(&restricted(&server, &["-client|tracking"], core), &[]);
    findings.assert("tracking", "warn", &["client|tracking", "polled"]);
    assert_eq!(code, 0, "tracking is optional");
}

#[test]
fn fails_with_the_reason_when_redis_cannot_be_reached() {
    let mut server = RedisServer::start();
    let wrong = server.url().replace("redis://", "redis://groupcast:wrong@");
    let folder =
        Folder::with(&format!("{COMMON_CONFIG}[layer]\nkind = \"redis\"\nurl = \"{wrong}\"\n"));
    let (findings, code) = doctor(&folder, &[]);
    findings.assert("redis", "fail", &["WRONGPASS", "password"]);
    assert_eq!(code, 1);
    let folder = self::folder(&server, "");
    server.kill();
    let (findings, code) = doctor(&folder, &[]);
    findings.assert("redis", "fail", &["refused", "is it running"]);
    assert_eq!(code, 1);
}

#[test]
fn asks_where_the_states_of_celery_tasks_come_from() {
    let server = RedisServer::start();
    let url = server.url();
    let (findings, code) =
        doctor(&folder(&server, &format!("[celery]\nresults = \"{url}/1\"")), &[]);
    findings.assert("celery results", "ok", &["answers"]);
    assert_eq!(code, 0);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = format!("[celery]\nevents = \"amqp://guest:guest@{closed}//\"");
    let (findings, code) = doctor(&folder(&server, &away), &[]);
    findings.assert("celery events", "fail", &["cannot be reached", "broker_url"]);
    assert_eq!(code, 1);
}

#[test]
fn tells_how_many_tasks_wait_in_the_queues_of_those_that_browsers_start() {
    let server = RedisServer::start();
    let url = server.url();
    server.ask(&["LPUSH", "site_photos", "{}", "{}"]);
    let task = "[[task]]\ncall = \"cut\"\nname = \"photos.cut\"\nqueue = \"photos\"\n";
    let celery = |broker: &str| {
        let broker = format!("broker = {broker:?}\nbroker_prefix = \"site_\"\n");
        format!("[celery]\nresults = \"{url}/1\"\n{broker}{task}")
    };
    let (findings, code) = doctor(&folder(&server, &celery(&url)), &[]);
    findings.assert("celery broker", "ok", &["2 in site_photos"]);
    assert_eq!(code, 0);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = celery(&format!("amqp://guest:guest@{closed}//"));
    let (findings, code) = doctor(&folder(&server, &away), &[]);
    findings.assert("celery broker", "fail", &["photos", "cannot be reached", "broker_url"]);
    assert_eq!(code, 1);
}

#[test]
fn recognizes_a_running_gateway_on_its_own_ports() {
    let server = RedisServer::start();
    let folder = folder(&server, "[channels]\nreceive = [\"core\"]\n");
    let mut running = Running::start(&mut folder.groupcast(&["serve"]));
    let (public, api) = running.addresses();
    let examine = || {
        let mut command = folder.groupcast(&["doctor", "--json"]);
        command.env("GROUPCAST_LISTEN_PUBLIC", public.to_string());
        finish(command.env("GROUPCAST_LISTEN_API", api.to_string()))
    };
    // Its first heartbeat may not have been written yet.
    let (findings, code) = loop {
        let (findings, code) = examine();
        let agreed = findings.get("agreement")["found"] == "64 mailboxes, format 1";
        if agreed && findings.get("instances")["found"].as_str().unwrap().starts_with("1 of") {
            break (findings, code);
        }
        assert_eq!(code, 0, "{:#}", findings.0);
    };
    findings.assert("listen.public", "ok", &["a running gateway"]);
    findings.assert("listen.api", "ok", &["a running gateway"]);
    assert_eq!(code, 0);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn fails_when_another_process_has_the_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // Accepts connections and closes them without an answer.
    let deaf = std::thread::spawn(move || drop(taken.accept()));
    let folder = Folder::with(COMMON_CONFIG);
    let mut command = folder.groupcast(&["doctor", "--json"]);
    let (findings, code) = finish(command.env("GROUPCAST_LISTEN_API", &address));
    findings.assert("listen.api", "fail", &[&address, "in use", "ss -ltnp"]);
    findings.assert("layer", "ok", &["memory"]);
    assert_eq!(code, 1);
    deaf.join().unwrap();
}

#[test]
fn fails_when_the_cluster_has_agreed_on_other_settings() {
    let server = RedisServer::start();
    server.ask(&["HSET", "groupcast:bridge", "boxes", "32", "format", "1"]);
    let core = "[channels]\nreceive = [\"core\"]\n";
    let (findings, code) = doctor(&folder(&server, core), &[]);
    findings.assert("agreement", "fail", &["64", "32", "groupcast:bridge"]);
    assert_eq!(code, 1);
    server.ask(&["HSET", "groupcast:bridge", "boxes", "64", "format", "2"]);
    let (findings, _) = doctor(&folder(&server, core), &[]);
    findings.assert("agreement", "fail", &["format 2", "format 1"]);
}

#[test]
fn warns_of_redis_settings_that_endanger_a_gateway() {
    let server = RedisServer::start();
    for (name, value) in [
        ("maxmemory", "100mb"),
        ("maxmemory-policy", "allkeys-lru"),
        ("client-output-buffer-limit", "pubsub 1mb 1mb 1"),
    ] {
        assert_eq!(server.ask(&["CONFIG", "SET", name, value]), "+OK\r\n");
    }
    let (findings, code) = doctor(&folder(&server, ""), &[]);
    findings.assert("memory", "warn", &["100 MiB", "allkeys-lru", "noeviction"]);
    findings.assert("pub/sub buffer", "warn", &["1 MiB"]);
    findings.assert("persistence", "ok", &["append-only file"]);
    assert_eq!(code, 0);
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let (findings, code) = doctor(&folder(&server, ""), &[]);
    findings.assert("redis role", "fail", &["replica of 127.0.0.1", "primary"]);
    assert_eq!(code, 1);
}

/// Leaves what killed consumers leave behind: members, and messages that are not read.
async fn leave_behind(django: &Django, groups: &[&str], clocks: Value) {
    drop(Python::consumer(&django.options(json!({"groups": groups}))).await);
    let sent = json!({"groups": groups, "events": 3, "processes": 1, "clocks": clocks});
    Python::send(django.options(sent)).await;
}

#[tokio::test]
async fn reads_djangos_channel_layer_without_a_configuration() {
    let server = RedisServer::start();
    let config = json!({"expiry": 40, "group_expiry": 7200});
    let django = Django::core(&server).with(config, "");
    let _alive = Python::consumer(&django.options(json!({"groups": ["sala_1"]}))).await;
    leave_behind(&django, &["sala_1", "sala_2"], json!([-20, 0])).await;
    leave_behind(&django, &["sala_1", "sala_2"], json!([0])).await;
    server.ask(&["ZADD", "asgispecific.0a!$inflight", "1", "copia"]);

    let folder = Folder::with("");
    let arguments = ["--channels", &server.url()];
    let (findings, code) = doctor(&folder, &arguments);
    findings.assert("channel layer", "ok", &["2 groups with 5 members", "sala_1 (3)"]);
    findings.assert("dead members", "warn", &["2 members of 1 process", "s old", "specific."]);
    findings.assert("expiry", "ok", &["40 s"]);
    findings.assert("$inflight", "warn", &["1 message left", "specific.0a!"]);
    findings.assert("consumers", "ok", &["1 process waiting", "socket_timeout"]);
    findings.assert("capacity", "ok", &["channel_capacity", "groupcast.*"]);
    findings.assert("group_expiry", "ok", &["2 h"]);
    assert_eq!(code, 0);
    assert_eq!(findings.0["channel_capacity"], r#"{"groupcast.*": 10000}"#);
    let groups = &findings.0["survey"]["groups"];
    assert_eq!((&groups[0]["name"], &groups[0]["dead"]), (&json!("sala_1"), &json!(1)));

    let section = findings.0["gateway_toml"].as_str().unwrap();
    for line in ["expiry = \"40s\" ", "group_expiry = \"7200s\" ", "serializer = \"msgpack\" "] {
        let found = section.lines().find(|found| found.starts_with(line));
        assert!(found.is_some_and(|found| found.ends_with("# found")), "{line} in\n{section}");
    }
    let suggested = Folder::with(&format!("{COMMON_CONFIG}{section}"));
    let (findings, code) = doctor(&suggested, &[]);
    findings.assert("messages", "ok", &["can be read"]);
    findings.assert("groups", "ok", &["all 2"]);
    assert_eq!(code, 0, "{:#}", findings.0);

    let text = stdout_of(&folder.output(&["doctor", "--channels", &server.url()]));
    for part in [
        "warn  dead members",
        "\n    \"channel_capacity\": {\"groupcast.*\": 10000},",
        "\n    [channels]\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[tokio::test]
async fn distinguishes_settings_by_whether_they_can_read_waiting_messages() {
    let server = RedisServer::start();
    let config = json!({
        "serializer_format": "json", "symmetric_encryption_keys": ["clave"], "prefix": "x",
        "random_prefix_length": 5, "expiry": 10,
    });
    let django = Django::core(&server).with(config, "");
    leave_behind(&django, &["sala_1"], json!([0])).await;
    let channels = "[channels]\nreceive = [\"core\"]\nprefix = \"x\"\n\
                    random_prefix_length = 5\nexpiry = \"10s\"\n";
    let right = "serializer = \"json\"\n[[channels.key]]\nsecret = \"clave\"\n";
    for (more, level, words) in [
        (right, "ok", &["all can be read"][..]),
        ("", "fail", &["symmetric_encryption_keys", "[[channels.key]]"]),
        ("[[channels.key]]\nsecret = \"otra\"\n", "fail", &["fits none of 1 keys"]),
        ("[[channels.key]]\nsecret = \"clave\"\n", "fail", &["serializer"]),
    ] {
        let (findings, code) = doctor(&folder(&server, &format!("{channels}{more}")), &[]);
        findings.assert("messages", level, words);
        assert_eq!(code, i32::from(level == "fail"), "{more}");
        findings.assert("expiry", "warn", &["10 s", "a restart"]);
    }
    let arguments = ["--channels", &server.url(), "--prefix", "x"];
    let (findings, _) = doctor(&Folder::with(""), &arguments);
    let section = findings.0["gateway_toml"].as_str().unwrap();
    for part in ["random_prefix_length = 5 ", "[[channels.key]]", "hidden by encryption"] {
        assert!(section.contains(part), "{part} is missing in\n{section}");
    }
}

#[tokio::test]
async fn distinguishes_the_pubsub_layer_from_the_core_layer() {
    let server = RedisServer::start();
    let django = Django::pubsub(&server);
    let _alive = Python::consumer(&django.options(json!({"groups": ["sala_1", "sala_2"]}))).await;
    let (findings, _) = doctor(&Folder::with(""), &["--channels", &server.url()]);
    findings.assert("channel layer", "ok", &["2 groups in channels_redis.pubsub", "1 listener"]);
    let section = findings.0["gateway_toml"].as_str().unwrap();
    assert!(section.contains("receive = [\"pubsub\"]"), "{section}");
    let (findings, _) = doctor(&folder(&server, "[channels]\nreceive = [\"core\"]\n"), &[]);
    findings.assert(
        "channels.receive",
        "warn",
        &["channels_redis.pubsub", "receive = [\"pubsub\"]"],
    );
}

#[test]
fn points_to_another_database_or_prefix_that_is_in_use() {
    let server = RedisServer::start();
    let add = "redis.call('SELECT', 5) redis.call('ZADD', 'asgi:group:g', 1, 'specific.0a!1b')";
    server.ask(&["EVAL", add, "0"]);
    let (findings, code) = doctor(&Folder::with(""), &["--channels", &server.url()]);
    findings.assert("where", "warn", &["/5 (1 key)", "CHANNEL_LAYERS"]);
    assert_eq!(code, 0);
    let there = format!("{}/5", server.url());
    let (findings, _) = doctor(&Folder::with(""), &["--channels", &there]);
    findings.assert("channel layer", "ok", &["1 group with 1 member", "largest g"]);
}

#[test]
fn bounds_the_survey_of_many_groups_and_says_so() {
    let server = RedisServer::start();
    let fill =
        "for i = 1, 12000 do redis.call('ZADD', 'asgi:group:g' .. i, 1, 'specific.0a!1b') end";
    server.ask(&["EVAL", fill, "0"]);
    let (findings, _) = doctor(&Folder::with(""), &["--channels", &server.url()]);
    findings.assert("channel layer", "ok", &["there are more"]);
    let count = findings.0["survey"]["groups"].as_array().unwrap().len();
    assert!((10_000..12_000).contains(&count), "{count}");
}

#[test]
fn warns_of_a_mailbox_near_its_capacity_and_of_a_clock_that_is_ahead() {
    let server = RedisServer::start();
    // As written by senders whose clock is a minute ahead.
    let fill = "local now = redis.call('TIME')[1] + 60 \
                for i = 1, 95 do redis.call('ZADD', 'asgispecific.0a!', now, 'm' .. i) end";
    server.ask(&["EVAL", fill, "0"]);
    let (findings, code) = doctor(&Folder::with(""), &["--channels", &server.url()]);
    findings.assert("capacity", "warn", &["specific.0a! holds 95 messages", "100"]);
    findings.assert("senders' clocks", "warn", &["ahead"]);
    assert_eq!(code, 0);
}

#[tokio::test]
async fn asks_the_connect_hook_as_for_a_browser() {
    let back_end = BackEnd::start();
    let folder = Folder::with(&format!("{COMMON_CONFIG}{}", back_end.configuration("")));
    let (findings, code) = doctor(&folder, &[]);
    findings.assert("connect hook", "ok", &["not asked", "--backend"]);
    assert_eq!((code, back_end.received().await["hooks"].as_array().unwrap().len()), (0, 0));

    let browser = ["--backend", "--host", "tienda.example", "--path", "/ws/chat/3/"];
    let (findings, code) = doctor(&folder, &[&browser[..], &["--cookie", "sessionid=7"]].concat());
    findings.assert("connect hook", "ok", &["usuario_7", "tienda.example"]);
    assert_eq!(code, 0);
    let received = back_end.received().await;
    let headers = &received["hooks"][0]["headers"];
    for (name, value) in
        [("host", "tienda.example"), ("groupcast-path", "/ws/chat/3/"), ("cookie", "sessionid=7")]
    {
        let headers = headers.as_object().unwrap();
        let found = headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        assert_eq!(found.map(|(_, value)| value), Some(&json!(value)), "{headers:?}");
    }

    let (findings, code) = doctor(&folder, &browser);
    findings.assert("connect hook", "ok", &["401"]);
    assert_eq!(code, 0, "a refusal is an answer, too");
    back_end.control(json!({"status": 302, "location": "/login"})).await;
    let (findings, code) = doctor(&folder, &browser);
    findings.assert("connect hook", "fail", &["302", "/login", "docs/backend.md"]);
    assert_eq!(code, 1);
}

#[test]
fn a_malformed_address_exits_with_64() {
    let output = Folder::with("").output(&["doctor", "--channels", "http://127.0.0.1"]);
    assert_eq!(output.status.code(), Some(64));
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(printed.contains("redis://"), "{printed}");
}
