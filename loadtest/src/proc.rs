//! The kernel's counters of a process: CPU, write calls and memory, from `/proc`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Length of the ticks in `/proc/<pid>/stat`: USER_HZ is 100 on every Linux of today.
const TICK: f64 = 0.01;

/// How often memory is read while it settles, and how many readings must agree.
const SETTLE_INTERVAL: Duration = Duration::from_millis(250);
const SETTLE_READINGS: usize = 6;

/// Counters of a process at one moment.
pub struct Usage {
    at: Instant,
    user: f64,
    system: f64,
    run_nanos: BTreeMap<u32, u64>,
    write_calls: u64,
}

/// What a process used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Wall time between the two, seconds.
    pub wall: f64,
    /// CPU time in user mode, seconds. Sampled by the kernel at its tick: see the README.
    pub user: f64,
    /// All CPU time, seconds, exact to the nanosecond while no thread ended in between.
    pub total: f64,
    /// `write` and `writev` calls; the kernel doesn't count `send` here.
    pub write_calls: f64,
}

/// Memory of a process, KiB.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Resident set (`VmRSS`).
    pub resident: u64,
    /// Pages that no other process shares (`Private_Clean` + `Private_Dirty`).
    pub private: u64,
}

impl Usage {
    /// Reads the counters of process `pid`.
    pub fn of(pid: u32) -> io::Result<Self> {
        let (user, system) = parse_stat(&read(pid, "stat")?)?;
        let mut run_nanos = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = entry?.path();
            let thread = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            // A thread may end between the listing and the reading.
            if let (Some(thread), Ok(text)) = (thread, fs::read_to_string(path.join("schedstat"))) {
                run_nanos.insert(thread, number(text.split_whitespace().next(), "schedstat")?);
            }
        }
        let write_calls = field(&read(pid, "io")?, "syscw:")?;
        Ok(Self { at: Instant::now(), user, system, run_nanos, write_calls })
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Self) -> Used {
        let user = self.user - before.user;
        let ended = before.run_nanos.keys().any(|thread| !self.run_nanos.contains_key(thread));
        let sum = |usage: &Self| usage.run_nanos.values().sum::<u64>();
        let total = match ended {
            // The time of a thread that ended is in `stat` only, to the tick.
            true => user + self.system - before.system,
            false => sum(self).saturating_sub(sum(before)) as f64 / 1e9,
        };
        let wall = self.at.duration_since(before.at).as_secs_f64();
        Used { wall, user, total, write_calls: (self.write_calls - before.write_calls) as f64 }
    }
}

impl Used {
    /// Adds what another process used in the same time.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            wall: self.wall.max(other.wall),
            user: self.user + other.user,
            total: self.total + other.total,
            write_calls: self.write_calls + other.write_calls,
        }
    }

    /// Takes off what `idle` would have used in the same time.
    pub fn less(&self, idle: &Self) -> Self {
        let scale = if idle.wall > 0.0 { self.wall / idle.wall } else { 0.0 };
        let net = |busy: f64, idle: f64| (busy - idle * scale).max(0.0);
        Self {
            wall: self.wall,
            user: net(self.user, idle.user),
            total: net(self.total, idle.total),
            write_calls: net(self.write_calls, idle.write_calls),
        }
    }
}

impl Memory {
    /// Reads the memory of process `pid`.
    pub fn of(pid: u32) -> io::Result<Self> {
        let rollup = read(pid, "smaps_rollup")?;
        Ok(Self {
            resident: field(&read(pid, "status")?, "VmRSS:")?,
            private: field(&rollup, "Private_Clean:")? + field(&rollup, "Private_Dirty:")?,
        })
    }

    /// Waits until the resident set has stopped moving by more than 1/1000, at most `deadline`.
    pub fn settled(pid: u32, deadline: Duration) -> io::Result<Self> {
        let until = Instant::now() + deadline;
        let mut last = Self::of(pid)?;
        let mut agreed = 0;
        while agreed < SETTLE_READINGS && Instant::now() < until {
            thread::sleep(SETTLE_INTERVAL);
            let now = Self::of(pid)?;
            let still = now.resident.abs_diff(last.resident) <= last.resident / 1000;
            agreed = if still { agreed + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }
}

/// CPU time of the calling thread, seconds.
pub fn of_this_thread() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(number(text.split_whitespace().next(), "schedstat")? as f64 / 1e9)
}

fn read(pid: u32, file: &str) -> io::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(|e| io::Error::other(format!("cannot read {path}: {e}")))
}

/// User and system seconds of `/proc/<pid>/stat`, whose second field may hold anything but `)`.
fn parse_stat(stat: &str) -> io::Result<(f64, f64)> {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after_name.split_whitespace().skip(11);
    let mut seconds = || number(fields.next(), "stat").map(|ticks| ticks as f64 * TICK);
    Ok((seconds()?, seconds()?))
}

fn field(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    number(line.and_then(|rest| rest.split_whitespace().next()), name)
}

fn number(text: Option<&str>, what: &str) -> io::Result<u64> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc: no number at {what}, but {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_after_a_process_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 90 0 0 0 150 250 0 0 20 0 3 0 100 1 1";
        assert_eq!(parse_stat(stat).unwrap(), (1.5, 2.5));
        assert!(parse_stat("7 (a) S 1").is_err());
        assert!(field("syscw: 34\n", "VmRSS:").is_err());
    }

    #[test]
    fn subtracts_idle_use_in_proportion_to_time() {
        let idle = Used { wall: 2.0, user: 0.1, total: 0.2, write_calls: 10.0 };
        let busy = Used { wall: 4.0, user: 1.0, total: 2.0, write_calls: 100.0 };
        let net = busy.less(&idle);
        assert!((net.user - 0.8).abs() < 1e-9 && (net.total - 1.6).abs() < 1e-9);
        assert_eq!(net.write_calls, 80.0);
    }

    #[test]
    fn reads_the_counters_of_its_own_process() {
        let before = Usage::of(std::process::id()).unwrap();
        let mut spun = 0u64;
        while before.at.elapsed() < Duration::from_millis(30) {
            spun = std::hint::black_box(spun + 1);
        }
        let used = Usage::of(std::process::id()).unwrap().since(&before);
        assert!(used.total > 0.0 && used.wall >= 0.03, "{used:?}");
        assert!(Memory::of(std::process::id()).unwrap().resident > 100);
    }
}
