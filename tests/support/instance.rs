//! A gateway as a process that is killed, stopped and started again by its test.

use std::fs::{self, File};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Endpoints, Folder, eventually, whole};

/// One instance; it does not outlive its test. Each start has ports of its own.
pub(crate) struct Instance {
    folder: Folder,
    /// Set in its environment.
    variables: Vec<(&'static str, &'static str)>,
    child: Child,
    endpoints: Endpoints,
}

impl Instance {
    /// Starts one with the tests' basics and what `configuration` adds to them.
    pub(crate) async fn start(configuration: &str) -> Self {
        Self::start_with(configuration, &[]).await
    }

    /// The same, with these variables in its environment.
    pub(crate) async fn start_with(
        configuration: &str,
        variables: &[(&'static str, &'static str)],
    ) -> Self {
        let folder = Folder::with(&format!("{}[log]\nformat = \"json\"\n", whole(configuration)));
        let (child, endpoints) = spawn(&folder, variables).await;
        Self { folder, variables: variables.to_vec(), child, endpoints }
    }

    /// Starts it again, after its end.
    pub(crate) async fn start_again(&mut self) {
        self.start_to_fail("").await;
    }

    /// Starts it again. `failpoint` is `<name>:<abort|stop>:<nth>`: where in its work it ends or
    /// stops itself.
    pub(crate) async fn start_to_fail(&mut self, failpoint: &str) {
        assert!(self.has_ended(), "it is running");
        let variables = [&self.variables[..], &[("FAILPOINT", failpoint)]].concat();
        (self.child, self.endpoints) = spawn(&self.folder, &variables).await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to go, and waits until it has.
    pub(crate) async fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
        eventually("the instance to end", async || self.has_ended()).await;
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether it was stopped, by itself or by a signal.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // The state follows the name, which is in parentheses and may hold anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Everything it has logged, over all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log(&self.folder)).unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Deref for Instance {
    type Target = Endpoints;

    fn deref(&self) -> &Endpoints {
        &self.endpoints
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts an instance that is expected to refuse; its stderr.
pub(crate) async fn refused(configuration: &str) -> String {
    let folder = Folder::with(&whole(configuration));
    let command = folder.groupcast(&["serve"]).stderr(Stdio::piped()).spawn();
    let mut child = command.unwrap();
    eventually("the instance to refuse", async || child.try_wait().unwrap().is_some()).await;
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn log(folder: &Folder) -> PathBuf {
    folder.gateway_toml().with_file_name("log")
}

/// Starts it, and waits until its log has its addresses.
async fn spawn(folder: &Folder, variables: &[(&str, &str)]) -> (Child, Endpoints) {
    let file = File::options().create(true).append(true).open(log(folder)).unwrap();
    let before = file.metadata().unwrap().len() as usize;
    let mut command = folder.groupcast(&["serve"]);
    command.envs(variables.iter().copied());
    // A file, so that nobody has to read on for it to go on.
    let command = command.stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = command.spawn().unwrap();
    let mut endpoints = None;
    eventually("the instance to listen", async || {
        let ended = child.try_wait().unwrap();
        let text = fs::read_to_string(log(folder)).unwrap();
        assert_eq!(ended, None, "{text}");
        endpoints = text[before..].lines().find_map(listening);
        endpoints.is_some()
    })
    .await;
    (child, endpoints.unwrap())
}

/// The addresses, if the line is the one that has them.
fn listening(line: &str) -> Option<Endpoints> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let address = |listener: &str| entry[listener].as_str()?.parse().ok();
    (entry["message"] == "listening").then_some(())?;
    Some(Endpoints { public: address("public")?, api: address("api")? })
}
