//! The scripts of `tests/python`, which use Django's own libraries.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::soon;

/// Lines of output that may wait for the test. Beyond it the script blocks.
const LINES: usize = 1024;

/// A script with all its processes, killed when dropped.
pub(crate) struct Python {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Python {
    /// Starts `script` with `options` as its argument.
    pub(crate) fn start(script: &str, options: &Value) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let interpreter = root.join("target/venv/bin/python");
        assert!(interpreter.exists(), "Django's libraries are not installed: run `make setup`");
        let mut child = Command::new(interpreter)
            // Writes no bytecode beside the scripts.
            .arg("-B")
            .arg(root.join("tests/python").join(script))
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A process group, so that its children can be killed with it.
            .process_group(0)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel(LINES);
        // A thread reads, so that the test's runtime is not blocked.
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

    /// Senders that are ready and start with the next line written to them.
    pub(crate) async fn senders(options: Value) -> Self {
        let mut options = options;
        options["wait"] = true.into();
        let mut senders = Self::start("group_send.py", &options);
        assert!(senders.line().await["ready"].is_u64());
        senders
    }

    /// A consumer that has joined its groups.
    pub(crate) async fn consumer(options: &Value) -> Self {
        let mut consumer = Self::start("consumer.py", options);
        assert!(consumer.line().await["channel"].is_string());
        consumer
    }

    /// A process that calls methods of the channel layer, as a view or a task does.
    pub(crate) fn layer(options: &Value) -> Self {
        Self::start("layer.py", options)
    }

    /// Calls a method of the channel layer, which must not raise.
    pub(crate) async fn call(&mut self, call: Value) {
        self.write_line(&call.to_string());
        assert_eq!(self.line().await, json!({"returned": null}), "{call}");
    }

    /// Sends everything that `options` ask for. Returns the summary.
    pub(crate) async fn send(options: Value) -> Value {
        let mut senders = Self::senders(options).await;
        senders.write_line("go");
        senders.summary().await
    }

    pub(crate) fn write_line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line of its output.
    pub(crate) async fn line(&mut self) -> Value {
        let line = soon("a line of the script", self.lines.recv()).await;
        let line = line.expect("the script failed; its error is above");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The summary that senders print at their end.
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
