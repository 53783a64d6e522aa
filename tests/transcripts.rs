//! Replays `docs/transcripts` on a gateway, in the role of the client.

use std::fs;
use std::path::Path;

use data_encoding::BASE64;
use groupcast::protocol::V1;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Gateway, Placeholders, Socket, assert_json_matches, expired, token};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transcript {
    name: String,
    #[serde(rename = "about")]
    _about: String,
    protocol: String,
    token: Option<String>,
    replay: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Step {
    Frame { from: Side, frame: Value },
    Text { from: Side, text: String },
    Binary { from: Side, binary: String },
    Publish { publish: Publish },
    Close { close: u16, by: Side },
    Reconnect { reconnect: bool },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    Client,
    Server,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    group: String,
    event: Value,
}

/// One replay.
struct Replay {
    gateway: Gateway,
    transcript: Transcript,
    seen: Placeholders,
}

#[tokio::test]
async fn the_gateway_follows_every_transcript() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/transcripts");
    let mut replayed = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let transcript: Transcript =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(path.file_stem().unwrap().to_str(), Some(transcript.name.as_str()));
        if transcript.replay.iter().any(|side| side == "server") {
            eprintln!("transcript {}", transcript.name);
            let gateway = Gateway::start().await;
            Replay { gateway, transcript, seen: Placeholders::new() }.run().await;
            replayed += 1;
        }
    }
    assert!(replayed > 10, "the transcripts were found: {replayed}");
}

impl Replay {
    async fn run(mut self) {
        let mut socket = self.connect().await;
        for step in std::mem::take(&mut self.transcript.steps) {
            eprintln!("  {step:?}");
            match step {
                Step::Frame { from: Side::Client, frame } => socket.send(filled(frame)).await,
                Step::Frame { from: Side::Server, frame } => {
                    assert_json_matches(&socket.frame().await, &frame, &mut self.seen);
                }
                Step::Text { from, text } => {
                    assert_eq!(from, Side::Client);
                    socket.send_text(&text).await;
                }
                Step::Binary { from, binary } => {
                    assert_eq!(from, Side::Client);
                    let bytes = BASE64.decode(binary.as_bytes()).unwrap();
                    socket.message(Message::binary(bytes)).await;
                }
                Step::Publish { publish } => {
                    self.gateway.publish(&publish.group, publish.event).await;
                }
                Step::Close { close, by } => {
                    assert_eq!(by, Side::Server);
                    assert_eq!(socket.closed().await.0, close);
                }
                Step::Reconnect { reconnect } => {
                    assert!(reconnect);
                    socket = self.connect().await;
                }
            }
        }
    }

    /// Connects. Waits until a plain client with a token is a member of its group, since no frame
    /// announces that.
    async fn connect(&self) -> Socket {
        if self.transcript.protocol == V1 {
            return self.gateway.v1_silent("/ws").await;
        }
        assert_eq!(self.transcript.protocol, "plain");
        let Some(placeholder) = &self.transcript.token else {
            return Socket::open(self.gateway.public, "/ws", &[]).await;
        };
        let bearer = format!("Bearer {}", filled(json!(placeholder)).as_str().unwrap());
        let socket = Socket::open(self.gateway.public, "/ws", &[("Authorization", &bearer)]).await;
        self.gateway.members("usuario_7", 1).await;
        socket
    }
}

/// Replaces the placeholders of a frame to send.
fn filled(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, filled(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(filled).collect(),
        Value::String(text) => {
            let named = |kind: &str| text.strip_prefix(kind)?.strip_suffix('>');
            match (named("<token:"), named("<expired:"), text.as_str()) {
                (Some(sub), _, _) => token(sub).into(),
                (_, Some(sub), _) => expired(sub).into(),
                (_, _, "<string>") => "tests/1".into(),
                (_, _, "<number>") => 1.into(),
                _ => text.into(),
            }
        }
        other => other,
    }
}
