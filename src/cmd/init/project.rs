//! What the project's own Python tells about its settings.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, thread};

use serde::Deserialize;

/// Prints the settings as JSON after [`MARK`].
const SCRIPT: &str = include_str!("settings.py");
const MARK: &str = "groupcast init: ";

/// For importing the project: some load models and connect to databases.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The settings that the gateway's configuration depends on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Project {
    /// Why the rest is unknown.
    problem: Option<String>,
    /// Django's version.
    pub(super) django: String,
    /// Whether the helper is installed as a package.
    pub(super) is_package: bool,
    /// A host of `ALLOWED_HOSTS`, in production.
    pub(super) host: String,
    /// The value that `SECURE_PROXY_SSL_HEADER` expects.
    pub(super) forwarded_proto: String,
    pub(super) layer: Option<ChannelLayer>,
    pub(super) celery: Option<CeleryApp>,
    /// Paths of routing.py, each with its consumer.
    pub(super) routes: Vec<(String, String)>,
    /// Patterns of routing.py that are no paths of the gateway's, each with its consumer.
    pub(super) patterns: Vec<(String, String)>,
    /// Why routing.py could not be read.
    pub(super) routing_problem: Option<String>,
}

/// `CHANNEL_LAYERS["default"]`.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct ChannelLayer {
    pub(super) backend: String,
    /// `[channels] receive`, if the gateway understands this layer.
    pub(super) receive: Option<String>,
    pub(super) url: Option<String>,
    /// How many hosts there are.
    pub(super) hosts: u64,
    pub(super) prefix: String,
    /// Seconds.
    pub(super) expiry: f64,
    /// Seconds.
    pub(super) group_expiry: f64,
    pub(super) serializer: String,
    pub(super) random_prefix_length: u64,
    /// Messages that wait for the gateway at most.
    pub(super) capacity: u64,
    /// `symmetric_encryption_keys`.
    pub(super) keys: Vec<String>,
}

/// The Celery app.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CeleryApp {
    pub(super) broker: String,
    /// The channels of worker events on a Redis broker; empty = those that the gateway expects.
    pub(super) event_channels: String,
    /// `result_backend`; empty if there is none.
    pub(super) results: String,
    /// `global_keyprefix` of its result back end.
    pub(super) key_prefix: String,
    /// Whether `groupcast.celery.install` was called.
    pub(super) is_installed: bool,
}

impl Project {
    /// Runs `python` in `folder`. An error says why the settings are unknown.
    pub(super) fn read(folder: &Path, python: &Path, module: &str) -> Result<Self, String> {
        let name = python.display();
        let mut command = Command::new(python);
        command.arg("-c").arg(SCRIPT).current_dir(folder);
        if env::var_os("DJANGO_SETTINGS_MODULE").is_none() {
            command.env("DJANGO_SETTINGS_MODULE", module);
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{name} cannot be run: {error}"))?;
        let printed = output(child)
            .ok_or_else(|| format!("{name} did not end within {} s", TIMEOUT.as_secs()))?;
        let line = printed.lines().rev().find_map(|line| line.strip_prefix(MARK));
        let line = line.ok_or_else(|| format!("{name} ended without an answer"))?;
        let project: Self = serde_json::from_str(line)
            .map_err(|error| format!("{name} answered what is not understood: {error}"))?;
        match project.problem {
            Some(problem) => Err(format!("{name}: {problem}")),
            None => Ok(project),
        }
    }
}

/// What a child prints until it ends; `None` if it had to be killed.
fn output(mut child: Child) -> Option<String> {
    let mut stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    let printed = receiver.recv_timeout(TIMEOUT).ok();
    if printed.is_none() {
        let _ = child.kill();
    }
    let _ = child.wait();
    printed
}

/// The project's Python: of the active environment, of one in the folder, or any.
pub(super) fn python_of(folder: &Path) -> PathBuf {
    let active = env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let inside = [".venv", "venv", "env"].map(|name| folder.join(name));
    let pythons = active.into_iter().chain(inside).map(|path| path.join("bin/python"));
    // Absolute, since it is run in the folder.
    let found =
        pythons.filter_map(|path| std::path::absolute(path).ok()).find(|path| path.exists());
    found.unwrap_or_else(|| PathBuf::from("python3"))
}

/// The settings module, as manage.py names it.
pub(super) fn settings_module(manage: &str) -> Option<&str> {
    let settings = manage.split("DJANGO_SETTINGS_MODULE").nth(1)?;
    // What follows the name is the call's next argument: `", "shop.settings")`.
    settings.split(['"', '\'']).nth(2).filter(|module| !module.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_settings_module_from_manage_py() {
        let made = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')";
        assert_eq!(settings_module(made), Some("shop.settings"));
        let split = "setdefault(\n    \"DJANGO_SETTINGS_MODULE\",\n    \"shop.settings.prod\",\n)";
        assert_eq!(settings_module(split), Some("shop.settings.prod"));
        assert_eq!(settings_module("import shop"), None);
    }
}
