//! What is measured, the gateway or the control, behind one interface.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::control::SEPARATOR;
use crate::event::{Stamp, Template};
use crate::gateway::{GROUP, Gateway, Setup};
use crate::http;

pub enum Subject {
    /// With the length of the events published.
    Gateway(Gateway, usize),
    /// The same frames, written by a process that does nothing else.
    Control(Control),
}

pub struct Control {
    child: Child,
    stdin: Option<ChildStdin>,
    port: u16,
    template: Template,
}

impl Subject {
    /// A gateway that is sent events of `bytes` bytes.
    pub fn gateway(setup: &Setup, bytes: usize) -> io::Result<Self> {
        Gateway::start(setup).map(|gateway| Self::Gateway(gateway, bytes))
    }

    /// A control of `threads` writers that writes messages like `template`; `vectored` = all of a
    /// batch with one call.
    pub fn control(threads: usize, template: &Template, vectored: bool) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["control", "--threads", &threads.to_string()]);
        command.args(vectored.then_some("--vectored"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let mut control = Control { child, stdin, port: 0, template: template.clone() };
        let mut line = String::new();
        BufReader::new(stdout.ok_or_else(|| io::Error::other("no stdout"))?)
            .read_line(&mut line)?;
        let unexpected = |_| io::Error::other(format!("the control wrote {line:?}"));
        control.port = line.trim().parse().map_err(unexpected)?;
        Ok(Self::Control(control))
    }

    pub fn pid(&self) -> u32 {
        match self {
            Self::Gateway(gateway, _) => gateway.pid(),
            Self::Control(control) => control.child.id(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Gateway(gateway, _) => gateway.address(),
            Self::Control(control) => SocketAddr::from(([127, 0, 0, 1], control.port)),
        }
    }

    /// Sends one event, or several at once, to all browsers.
    pub fn publish(&mut self, stamps: &[Stamp]) -> io::Result<()> {
        match self {
            Self::Gateway(gateway, bytes) => {
                let events: Vec<_> = stamps.iter().map(|s| (GROUP, s.json(*bytes))).collect();
                gateway.api.publish(&events)
            }
            Self::Control(control) => {
                let messages: Vec<_> = stamps.iter().map(|&s| control.template.with(s)).collect();
                let line = messages.join(&SEPARATOR.to_string()) + "\n";
                let closed = || io::Error::other("the control's stdin is closed");
                control.stdin.as_mut().ok_or_else(closed)?.write_all(line.as_bytes())
            }
        }
    }

    /// A counter of the gateway, all labels together; 0 of the control, which has none.
    pub fn counter(&mut self, name: &str) -> io::Result<f64> {
        let Self::Gateway(gateway, _) = self else { return Ok(0.0) };
        let page = gateway.api.get("/metrics")?;
        http::metric(&page, name).ok_or_else(|| io::Error::other(format!("/metrics has no {name}")))
    }

    pub fn stop(self) -> io::Result<()> {
        match self {
            Self::Gateway(gateway, _) => gateway.stop(),
            Self::Control(mut control) => {
                drop(control.stdin.take());
                match control.child.wait()? {
                    status if status.success() => Ok(()),
                    status => Err(io::Error::other(format!("the control ended with {status}"))),
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
