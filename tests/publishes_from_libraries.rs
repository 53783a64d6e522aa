//! The examples of publishers, each with its library and a real RabbitMQ.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::{Amqp, Gateway, RabbitServer, eventually};

/// Events of each publisher.
const EVENTS: u64 = 300;

/// A program of `examples/rabbitmq`.
struct Publisher {
    name: &'static str,
    command: Vec<PathBuf>,
    folder: PathBuf,
}

fn publishers() -> Vec<Publisher> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("examples/rabbitmq");
    let python = root.join("target/venv/bin/python");
    let python = |name, file: &str| {
        let command = vec![python.clone(), "-B".into(), file.into()];
        Publisher { name, command, folder: folder.clone() }
    };
    let mut publishers = vec![
        python("pika", "publish_pika.py"),
        python("aio-pika", "publish_aio_pika.py"),
        python("kombu", "publish_kombu.py"),
        python("celery", "publish_celery.py"),
        Publisher {
            name: "amqplib",
            command: vec!["node".into(), "publish.mjs".into()],
            folder: folder.clone(),
        },
    ];
    match go_publisher(&folder.join("go")) {
        Some(program) => {
            publishers.push(Publisher { name: "amqp091-go", command: vec![program], folder });
        }
        None => eprintln!("SKIPPED: there is no Go here, so its example is not tried"),
    }
    publishers
}

/// The program, compiled: the first time takes longer than a browser may be silent.
fn go_publisher(folder: &Path) -> Option<PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let compile = || {
        let go = ["go", "/usr/local/go/bin/go"];
        let has = |go: &&str| Command::new(go).arg("version").output().is_ok();
        let go = go.into_iter().find(has)?;
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("publish-go");
        let build = ["build", "-o", program.to_str().unwrap(), "."];
        let output = Command::new(go).args(build).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Some(program)
    };
    PROGRAM.get_or_init(compile).clone()
}

impl Publisher {
    /// Runs it with lines as its input.
    fn run(&self, rabbit: &RabbitServer, lines: &[Value]) -> Output {
        let url = match self.name {
            // As kombu has it: `//` is the virtual host `/`.
            "kombu" | "celery" => rabbit.url(),
            _ => rabbit.url().trim_end_matches('/').to_owned() + "/",
        };
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .current_dir(&self.folder)
            .env("AMQP_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run `make setup`", self.name));
        let mut stdin = child.stdin.take().unwrap();
        for line in lines {
            // One that gives up early does not read the rest.
            let _ = writeln!(stdin, "{line}");
        }
        drop(stdin);
        child.wait_with_output().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn events_of_every_library_reach_browsers_once_and_in_order() {
    let publishers = publishers();
    let rabbit = RabbitServer::start();
    let gateway = Gateway::with(&format!("[amqp]\nurl = {:?}\n", rabbit.url())).await;
    gateway.ready().await;
    for publisher in publishers {
        let (name, event) = (publisher.name, |n: u64| json!({"type": "venta", "n": n, "ñ": "€"}));
        let line = |n| json!({"key": "user:ana", "id": format!("{name}-{n}"), "event": event(n)});
        let mut lines: Vec<Value> = (0..EVENTS).map(line).collect();
        // As a program that was not sure does.
        lines.extend((EVENTS - 50..EVENTS).map(line));
        // One without an id is published in any case.
        lines.push(json!({"key": "user:ana", "event": {"type": "fin"}}));
        let mut ana = gateway.v1("ana").await;
        let output = tokio::task::block_in_place(|| publisher.run(&rabbit, &lines));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {stderr}");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["confirmed"], lines.len(), "{name}");
        for n in 0..EVENTS {
            assert_eq!(ana.event().await, event(n), "{name}");
        }
        assert_eq!(ana.event().await, json!({"type": "fin"}), "{name}");
    }
    let amqp = Amqp::connect(&rabbit.url()).await;
    let state = async || amqp.depth("groupcast.groupcast").await;
    eventually("all to be acknowledged", async || state().await == (0, 1)).await;
    assert_eq!(amqp.depth("groupcast.groupcast.dead").await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_example_tells_that_no_queue_takes_a_message() {
    let rabbit = RabbitServer::start();
    let amqp = Amqp::connect(&rabbit.url()).await;
    // The exchange alone, as after somebody has deleted the queue.
    amqp.declare("for a moment", "groupcast", Default::default()).await;
    amqp.delete("for a moment").await;
    for publisher in publishers() {
        let line = json!({"key": "user:ana", "id": "a", "event": {"type": "venta"}});
        let output = tokio::task::block_in_place(|| publisher.run(&rabbit, &[line]));
        assert!(!output.status.success(), "{}: {output:?}", publisher.name);
    }
}

/// The short form of `loadtest/rabbitmq.py`.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn each_event_arrives_once_while_instances_are_killed_again_and_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = tokio::task::block_in_place(|| {
        Command::new(root.join("target/venv/bin/python"))
            .arg("-B")
            .arg(root.join("loadtest/rabbitmq.py"))
            .args(["--gateway", env!("CARGO_BIN_EXE_groupcast"), "--no-costs"])
            .args(["--messages", "1000", "--kill", "1-3", "--libraries", "aio-pika"])
            .output()
            .unwrap()
    });
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert_eq!(said.matches("each once, in order").count(), 1, "{said}");
    assert_eq!(said.matches("each at least once").count(), 1, "{said}");
}
