//! Scripts of `tests/python`, which speak by Django's own libraries.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::soon;

/// Lines that wait to be looked at; then the script waits.
const LINES: usize = 1024;

/// A script and all its processes, which do not outlive the value.
pub(crate) struct Python {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Python {
    /// Starts `script` of `tests/python` with `options` as its argument.
    pub(crate) fn start(script: &str, options: &Value) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let interpreter = root.join("target/venv/bin/python");
        assert!(interpreter.exists(), "Django's libraries are not installed: run `make setup`");
        let mut child = Command::new(interpreter)
            // No bytecode is left beside the scripts.
            .arg("-B")
            .arg(root.join("tests/python").join(script))
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its own group, so that what it forks ends with it.
            .process_group(0)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel(LINES);
        // Read by a thread: the gateway of the test must go on meanwhile.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines }
    }

    /// Senders that stand ready and begin with the next line written to them.
    pub(crate) async fn senders(options: Value) -> Self {
        let mut options = options;
        options["wait"] = true.into();
        let mut senders = Self::start("group_send.py", &options);
        assert!(senders.line().await["ready"].is_u64());
        senders
    }

    /// A consumer that is a member of its groups.
    pub(crate) async fn consumer(options: &Value) -> Self {
        let mut consumer = Self::start("consumer.py", options);
        assert!(consumer.line().await["channel"].is_string());
        consumer
    }

    /// A view or a task with the layer at hand.
    pub(crate) fn layer(options: &Value) -> Self {
        Self::start("layer.py", options)
    }

    /// Has the layer's `method` called; it must not raise.
    pub(crate) async fn call(&mut self, call: Value) {
        self.write_line(&call.to_string());
        assert_eq!(self.line().await, json!({"returned": null}), "{call}");
    }

    /// Sends what `options` say, all of it; the summary.
    pub(crate) async fn send(options: Value) -> Value {
        let mut senders = Self::senders(options).await;
        senders.write_line("go");
        senders.summary().await
    }

    pub(crate) fn write_line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line it prints.
    pub(crate) async fn line(&mut self) -> Value {
        let line = soon("a line of the script", self.lines.recv()).await;
        let line = line.expect("the script failed; its error is above");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// What the senders say at their end.
    pub(crate) async fn summary(&mut self) -> Value {
        loop {
            let line = self.line().await;
            if line["numbers"].is_object() {
                return line;
            }
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
