//! A gateway as a separate process, which tests kill, stop and restart.

use std::fs::{self, File};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Endpoints, Folder, complete_config, eventually};

/// One instance, killed when dropped. Each start uses new ports.
pub(crate) struct Instance {
    folder: Folder,
    /// Its environment variables.
    variables: Vec<(&'static str, &'static str)>,
    child: Child,
    endpoints: Endpoints,
}

impl Instance {
    /// Starts one with the tests' common configuration and `configuration`.
    pub(crate) async fn start(configuration: &str) -> Self {
        Self::start_with(configuration, &[]).await
    }

    /// The same, with these variables in its environment.
    pub(crate) async fn start_with(
        configuration: &str,
        variables: &[(&'static str, &'static str)],
    ) -> Self {
        let folder =
            Folder::with(&format!("{}[log]\nformat = \"json\"\n", complete_config(configuration)));
        let (child, endpoints) = spawn(&folder, variables).await;
        Self { folder, variables: variables.to_vec(), child, endpoints }
    }

    /// Restarts it after it has ended.
    pub(crate) async fn start_again(&mut self) {
        self.start_to_fail("").await;
    }

    /// Restarts it. At `failpoint`, `<name>:<abort|stop>:<nth>`, it will abort or stop itself.
    pub(crate) async fn start_to_fail(&mut self, failpoint: &str) {
        assert!(self.has_ended(), "it is running");
        let variables = [&self.variables[..], &[("FAILPOINT", failpoint)]].concat();
        (self.child, self.endpoints) = spawn(&self.folder, &variables).await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Kills it without a shutdown.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for its end.
    pub(crate) async fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
        eventually("the instance to end", async || self.has_ended()).await;
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether it is stopped (SIGSTOP), by itself or from outside.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // The state follows the name, which is in parentheses and may hold anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Sets its wall clock, if it runs with libfaketime and reads its file `clock`.
    pub(crate) fn set_clock(&self, offset: &str) {
        fs::write(self.folder.gateway_toml().with_file_name("clock"), offset).unwrap();
    }

    /// Its log, over all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log(&self.folder)).unwrap()
    }

    /// Its resident memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
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

/// Starts an instance that must refuse to run. Returns its stderr.
pub(crate) async fn refused(configuration: &str) -> String {
    let folder = Folder::with(&complete_config(configuration));
    let command = folder.groupcast(&["serve"]).stderr(Stdio::piped()).spawn();
    let mut child = command.unwrap();
    eventually("the instance to end", async || child.try_wait().unwrap().is_some()).await;
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn log(folder: &Folder) -> PathBuf {
    folder.gateway_toml().with_file_name("log")
}

/// Starts it and waits until it has logged its addresses.
async fn spawn(folder: &Folder, variables: &[(&str, &str)]) -> (Child, Endpoints) {
    let file = File::options().create(true).append(true).open(log(folder)).unwrap();
    let before = file.metadata().unwrap().len() as usize;
    let mut command = folder.groupcast(&["serve"]);
    command.envs(variables.iter().copied());
    // A file: a pipe that is not read would block it.
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

/// The addresses, if `line` is the `listening` line.
fn listening(line: &str) -> Option<Endpoints> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let address = |listener: &str| entry[listener].as_str()?.parse().ok();
    (entry["message"] == "listening").then_some(())?;
    Some(Endpoints { public: address("public")?, api: address("api")? })
}
