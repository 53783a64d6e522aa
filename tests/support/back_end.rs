//! The back end of the tests, a separate process: `tests/backend/back_end.py`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::request;

/// Killed when dropped.
pub(crate) struct BackEnd {
    process: Child,
    address: SocketAddr,
}

impl BackEnd {
    pub(crate) fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/backend/back_end.py");
        let mut process = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        Self { process, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// The address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `[backend]` section for a gateway that uses this back end, with `more` keys.
    pub(crate) fn configuration(&self, more: &str) -> String {
        format!(
            "[backend]\nurl = \"http://{}\"\n{more}\n[[backend.key]]\n\
             secret = \"a secret that both sides of the tests know\"\n",
            self.address
        )
    }

    /// Sets how it answers from now on.
    pub(crate) async fn control(&self, how: Value) {
        let how = how.to_string();
        let answer = request(self.address, "POST /control", &[], how.as_bytes()).await;
        assert_eq!(answer.status, 204);
    }

    /// The requests it has received.
    pub(crate) async fn received(&self) -> Value {
        request(self.address, "GET /received", &[], b"").await.json()
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
