//! The `groupcast` command as a shell or a supervisor meets it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with a configuration in it, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn with(configuration: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("groupcast-commands-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        fs::write(folder.0.join("gateway.toml"), configuration).unwrap();
        folder
    }

    /// The command in this folder, with nothing of the gateway's in its environment.
    fn groupcast(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_groupcast"));
        command.args(arguments).current_dir(&self.0);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GROUPCAST_") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C");
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.groupcast(arguments).output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().unwrap();
        // One byte at a time: what is read ahead would be lost to whoever reads on.
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(char::from(byte[0]));
        }
        line
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
fn a_bad_configuration_is_64_and_one_sentence() {
    let folder = Folder::with("[limits]\nframe_brust = 3\n");
    for command in ["serve", "check", "dev"] {
        let output = folder.output(&[command]);
        assert_eq!(output.status.code(), Some(64), "{command}");
        let said = text(&output.stderr);
        assert!(said.starts_with("groupcast: gateway.toml:2:1: unknown field"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_named_configuration_must_be_there() {
    let output = Folder::with(SERVING).output(&["check", "--config", "other.toml"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("other.toml cannot be read: No such file"));
}

#[test]
fn serving_without_a_key_is_refused_with_the_way_out() {
    let output = Folder::with("").output(&["serve"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("[[auth.key]]"), "{}", text(&output.stderr));
}

#[test]
fn a_taken_port_is_1_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::with(SERVING);
    let output =
        folder.groupcast(&["serve"]).env("GROUPCAST_LISTEN_API", &address).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("listen.api") && said.contains(&address), "{said}");
}

#[test]
fn the_first_json_line_names_the_addresses_and_sigterm_ends_it_well() {
    let folder = Folder::with(SERVING);
    let child = folder.groupcast(&["serve"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let line: serde_json::Value = serde_json::from_str(&running.first_line()).unwrap();
    assert_eq!(line["message"], "listening");
    for door in ["public", "api"] {
        let address: SocketAddr = line[door].as_str().unwrap().parse().unwrap();
        TcpStream::connect(address).unwrap();
    }
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn check_says_what_it_means_and_keeps_secrets() {
    let output = Folder::with(SERVING).output(&["check"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in ["ws://127.0.0.1:0", "HS256", "usuario_{sub}", "256 KiB", "warning: "] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert!(!said.contains("0123456789abcdef"), "{said}");
}

#[test]
fn a_token_is_made_that_explain_accepts() {
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
fn a_token_that_the_gateway_would_refuse_is_not_printed() {
    let folder = Folder::with(SERVING);
    let output = folder.output(&["token", "--sub", "7", "--claim", "exp=1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("ran out"), "{}", text(&output.stderr));
}

#[test]
fn dev_prints_what_is_needed_to_try_it_in_the_readers_language() {
    let folder = Folder::with("");
    for (locale, opening) in [("C", "Groupcast is up"), ("es_MX.UTF-8", "Groupcast está en marcha")]
    {
        let child = folder
            .groupcast(&["dev", "--port", "0", "--api-port", "0", "--sub", "ana"])
            .env("LC_ALL", locale)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut running = Running(child);
        let mut said = String::new();
        let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
        while !said.contains("Ctrl-C") {
            said.push_str(&lines.next().expect("the greeting ends with Ctrl-C").unwrap());
            said.push('\n');
        }
        assert!(said.starts_with(opening), "{said}");
        for part in ["/groups/usuario_ana/send", "Authorization: Bearer ", "http://127.0.0.1:"] {
            assert!(said.contains(part), "{part} is missing in\n{said}");
        }
    }
}
