//! What is measured: the gateway or the control, behind the same few questions.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::control::{Batch, Writes};
use crate::event::{Stamp, Template};
use crate::gateway::{Gateway, Setup};
use crate::http;

/// A running process that browsers connect to.
pub enum Subject {
    /// With the length of the events published.
    Gateway(Gateway, usize),
    /// The same frames, written by a process that does nothing else.
    Control(Control),
}

/// The control as a child.
pub struct Control {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    port: u16,
    template: Template,
    writes: Writes,
}

impl Subject {
    /// A gateway that is sent events of `bytes` bytes.
    pub fn gateway(setup: &Setup, bytes: usize) -> io::Result<Self> {
        Gateway::start(setup).map(|gateway| Self::Gateway(gateway, bytes))
    }

    /// A control of `threads` writers that writes frames like `template`.
    pub fn control(threads: usize, template: Template, writes: Writes) -> io::Result<Self> {
        Control::start(threads, template, writes).map(Self::Control)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Gateway(gateway, _) => gateway.pid(),
            Self::Control(control) => control.child.id(),
        }
    }

    /// Where browsers connect.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Gateway(gateway, _) => gateway.address(),
            Self::Control(control) => SocketAddr::from(([127, 0, 0, 1], control.port)),
        }
    }

    /// Sends one event, or several at once, to all browsers.
    pub fn publish(&mut self, stamps: &[Stamp]) -> io::Result<()> {
        match self {
            Self::Gateway(gateway, bytes) => gateway.publish(stamps, *bytes),
            Self::Control(control) => control.publish(stamps),
        }
    }

    /// A counter of the gateway, all labels together; 0 of the control, which has none.
    pub fn counter(&mut self, name: &str) -> io::Result<f64> {
        let Self::Gateway(gateway, _) = self else { return Ok(0.0) };
        let page = gateway.metrics()?;
        http::metric(&page, name).ok_or_else(|| io::Error::other(format!("/metrics has no {name}")))
    }

    /// Ends it in good order.
    pub fn stop(self) -> io::Result<()> {
        match self {
            Self::Gateway(gateway, _) => gateway.stop(),
            Self::Control(control) => control.stop(),
        }
    }
}

impl Control {
    fn start(threads: usize, template: Template, writes: Writes) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["control", "--threads", &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        let mut control =
            Self { child, stdin, stdout: BufReader::new(stdout), port: 0, template, writes };
        control.port = control.line()?;
        Ok(control)
    }

    fn publish(&mut self, stamps: &[Stamp]) -> io::Result<()> {
        let frames = stamps.iter().map(|&stamp| self.template.with(stamp)).collect();
        let batch = Batch { writes: self.writes, frames }.encode();
        let closed = || io::Error::other("the control's stdin is closed");
        self.stdin.as_mut().ok_or_else(closed)?.write_all(&batch)
    }

    fn stop(mut self) -> io::Result<()> {
        drop(self.stdin.take());
        let _write_calls: u64 = self.line()?;
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("the control ended with {status}"))),
        }
    }

    fn line<T: std::str::FromStr>(&mut self) -> io::Result<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        line.trim().parse().map_err(|_| io::Error::other(format!("the control said {line:?}")))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
