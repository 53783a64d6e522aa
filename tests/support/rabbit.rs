//! A RabbitMQ of one's own: ports, name and data are the test's; ended with the value.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::redis::ports::free_port;
use super::{Authority, Folder};

/// Time to start in: 4 s alone, far more while others compile.
const START: Duration = Duration::from_secs(60);

/// How often a new one is tried. It asks for its ports seconds after they were found to be free.
const ATTEMPTS: usize = 3;

/// Not the one in PATH, which wants to be another user.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The commands of a node, without the script in PATH, which wants to be another user.
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

/// A node that may be killed and started again where it was.
pub(crate) struct RabbitServer {
    port: u16,
    epmd_port: u16,
    distribution_port: u16,
    folder: Folder,
    /// Names the nodes; RabbitMQ would start one of its own, which outlives it.
    epmd: Child,
    node: Option<Child>,
}

impl RabbitServer {
    /// Starts one and waits until it speaks AMQP.
    pub(crate) fn start() -> Self {
        Self::start_with("[].\n", |_| String::new()).0
    }

    /// The same, also over TLS, at the port that is returned: for clients whom this authority has
    /// certified.
    pub(crate) fn start_with_tls(authority: &Authority) -> (Self, u16) {
        let server = authority.certify("server");
        let options = format!(
            "ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n",
            authority.certificate().display(),
            server.certificate.display(),
            server.key.display(),
        );
        Self::start_with("[].\n", |port| format!("listeners.ssl.1 = 127.0.0.1:{port}\n{options}"))
    }

    /// The same with its management API, at the port that is returned.
    pub(crate) fn start_managed() -> (Self, u16) {
        Self::start_with("[rabbitmq_management].\n", |port| {
            format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n")
        })
    }

    /// `more` adds to its configuration what listens at a second port.
    fn start_with(plugins: &str, more: impl Fn(u16) -> String) -> (Self, u16) {
        assert!(Path::new(PROGRAM).exists(), "RabbitMQ is not installed: run `make setup`");
        let mut failures = String::new();
        for _ in 0..ATTEMPTS {
            let second_port = free_port();
            let mut server = Self::at_new_ports(plugins, &more(second_port));
            match server.launch() {
                Ok(()) => return (server, second_port),
                Err(failure) => failures.push_str(&failure),
            }
        }
        panic!("RabbitMQ did not start: {failures}");
    }

    fn at_new_ports(plugins: &str, more: &str) -> Self {
        let [port, epmd_port, distribution_port] = [(); 3].map(|()| free_port());
        let epmd = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let folder = Folder::with("");
        let listener = format!("listeners.tcp.1 = 127.0.0.1:{port}\n");
        let configuration = format!("{listener}log.console = true\nlog.file = false\n{more}");
        fs::write(folder.gateway_toml().with_file_name("rabbitmq.conf"), configuration).unwrap();
        fs::write(folder.gateway_toml().with_file_name("plugins"), plugins).unwrap();
        Self { port, epmd_port, distribution_port, folder, epmd, node: None }
    }

    /// Starts it on the same ports with what its folder holds.
    pub(crate) fn start_again(&mut self) {
        self.launch().unwrap();
    }

    /// Fails with what it printed.
    fn launch(&mut self) -> Result<(), String> {
        let printed = self.folder.gateway_toml().with_file_name("printed");
        let output = File::create(&printed).unwrap();
        let mut command = Command::new(PROGRAM);
        let node = self
            .in_its_environment(&mut command)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            // A process group: the program is a script that starts Erlang.
            .process_group(0)
            .spawn()
            .unwrap();
        let node = self.node.insert(node);
        let deadline = Instant::now() + START;
        while !speaks_amqp(self.port) {
            let ended = node.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let what = ended.map_or("no answer".to_owned(), |status| status.to_string());
                return Err(format!("{what}\n{}\n", fs::read_to_string(printed).unwrap()));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    fn in_its_environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let within = |name: &str| -> PathBuf { self.folder.gateway_toml().with_file_name(name) };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", within(""))
            .env("RABBITMQ_NODENAME", format!("groupcast-{}@localhost", self.port))
            .env("RABBITMQ_CONFIG_FILE", within("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_MNESIA_BASE", within("mnesia"))
            .env("RABBITMQ_LOG_BASE", within("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", within("plugins"))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
    }

    /// Shuts it down in order, as a restart does. A quorum queue that was declared seconds before a
    /// SIGKILL has no leader when RabbitMQ 3.10 comes back, and nobody can consume it.
    pub(crate) fn shut_down(&mut self) {
        self.control(&["shutdown"]);
        self.node.take().expect("it is running").wait().unwrap();
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        let mut node = self.node.take().expect("it is running");
        // One that has ended by itself has no group any more.
        let _ = killpg(Pid::from_raw(node.id() as i32), Signal::SIGKILL);
        node.wait().unwrap();
    }

    /// Stops it, or lets it continue.
    pub(crate) fn signal(&self, signal: Signal) {
        let node = self.node.as_ref().expect("it is running");
        killpg(Pid::from_raw(node.id() as i32), signal).unwrap();
    }

    /// A command of `rabbitmqctl`, which must succeed.
    pub(crate) fn control(&self, words: &[&str]) -> String {
        let mut command = Command::new(CONTROL);
        let output = self.in_its_environment(&mut command).args(words).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {words:?}: {text}{error}");
        text
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The address as Celery names it.
    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}//", self.port)
    }
}

/// Whether a broker begins the handshake: it accepts connections before it can.
fn speaks_amqp(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut first = [0];
    stream.write_all(b"AMQP\0\0\x09\x01").is_ok()
        && stream.read_exact(&mut first).is_ok()
        && first == [1]
}

impl Drop for RabbitServer {
    fn drop(&mut self) {
        if self.node.is_some() {
            self.kill();
        }
        let _ = self.epmd.kill();
        let _ = self.epmd.wait();
    }
}
