//! How many tasks each user has started within a minute, and how many have not ended.
//!
//! An instance counts for itself. A task whose end is never seen counts for an hour.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::settings::BrowserTask;

/// How long a task counts whose end is not seen.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);

/// The window of `per_minute`.
const MINUTE: Duration = Duration::from_secs(60);

/// Users and tasks that are counted at most; more start nothing.
const MAX_USERS: usize = 100_000;
pub(crate) const MAX_RUNNING: usize = 100_000;

/// Clones share the counts.
#[derive(Clone, Default)]
pub(crate) struct Quotas(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    users: HashMap<UserCall, Started>,
    /// Tasks that have not ended, by id.
    running: HashMap<String, UserCall>,
}

/// A user, and the call by which the tasks are started.
type UserCall = (Arc<str>, Arc<str>);

/// What one user has started by one call.
#[derive(Default)]
struct Started {
    /// When, within the last minute.
    lately: VecDeque<Instant>,
    /// Those that have not ended, with the time of their start.
    running: HashMap<String, Instant>,
}

impl Quotas {
    /// Counts a task that is about to be started, or says why the user may start none.
    pub(super) fn begin(
        &self,
        sub: &Arc<str>,
        call: &Arc<str>,
        task: &BrowserTask,
        id: &str,
        now: Instant,
    ) -> Result<(), String> {
        let mut counts = self.0.lock();
        let who = (Arc::clone(sub), Arc::clone(call));
        counts.forget_old(&who, now);
        if counts.users.len() >= MAX_USERS || counts.running.len() >= MAX_RUNNING {
            counts.forget_all_old(now);
            if counts.users.len() >= MAX_USERS || counts.running.len() >= MAX_RUNNING {
                return Err("too many tasks are running".to_owned());
            }
        }
        let started = counts.users.entry(who.clone()).or_default();
        let (per_minute, concurrent) = (task.per_minute as usize, task.concurrent as usize);
        if started.lately.len() >= per_minute {
            return Err(format!("at most {per_minute} of these tasks may be started in a minute"));
        }
        if started.running.len() >= concurrent {
            return Err(format!("at most {concurrent} of these tasks may be running"));
        }
        started.lately.push_back(now);
        started.running.insert(id.to_owned(), now);
        counts.running.insert(id.to_owned(), who);
        Ok(())
    }

    /// A task has ended, or was not started.
    pub(crate) fn ended(&self, id: &str) {
        let mut counts = self.0.lock();
        if let Some(who) = counts.running.remove(id)
            && let Some(started) = counts.users.get_mut(&who)
        {
            started.running.remove(id);
        }
    }
}

impl Counts {
    fn forget_old(&mut self, who: &UserCall, now: Instant) {
        let Some(started) = self.users.get_mut(who) else { return };
        for id in started.forget_old(now) {
            self.running.remove(&id);
        }
    }

    /// At most once a minute's worth of work: only when a bound is reached.
    fn forget_all_old(&mut self, now: Instant) {
        let running = &mut self.running;
        self.users.retain(|_, started| {
            for id in started.forget_old(now) {
                running.remove(&id);
            }
            !(started.lately.is_empty() && started.running.is_empty())
        });
    }
}

impl Started {
    /// Returns the tasks that count no more.
    fn forget_old(&mut self, now: Instant) -> Vec<String> {
        let is_over = |since: Instant, lasts| now.saturating_duration_since(since) >= lasts;
        while self.lately.front().is_some_and(|since| is_over(*since, MINUTE)) {
            self.lately.pop_front();
        }
        let over = self.running.extract_if(|_, since| is_over(*since, LONGEST));
        over.map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::celery::start::RevokeMode;

    fn task(per_minute: u32, concurrent: u32) -> BrowserTask {
        BrowserTask {
            name: "t".to_owned(),
            queue: "celery".to_owned(),
            identity: "sub".to_owned(),
            arguments: Default::default(),
            per_minute,
            concurrent,
            revoke: RevokeMode::Never,
            retry: false,
        }
    }

    struct User(Quotas, BrowserTask);

    impl User {
        fn begin(&self, sub: &str, id: &str, now: Instant) -> Result<(), String> {
            self.0.begin(&sub.into(), &"cut".into(), &self.1, id, now)
        }
    }

    #[test]
    fn a_user_starts_so_many_a_minute_and_no_more() {
        let (user, now) = (User(Quotas::default(), task(2, 9)), Instant::now());
        for id in ["a", "b"] {
            user.begin("7", id, now).unwrap();
            user.0.ended(id);
        }
        assert!(user.begin("7", "c", now).unwrap_err().contains("at most 2"));
        user.begin("8", "d", now).unwrap();
        user.begin("7", "e", now + MINUTE).unwrap();
    }

    #[test]
    fn a_task_counts_until_it_has_ended_or_an_hour_is_over() {
        let (user, now) = (User(Quotas::default(), task(100, 2)), Instant::now());
        user.begin("7", "a", now).unwrap();
        user.begin("7", "b", now).unwrap();
        assert!(user.begin("7", "c", now).unwrap_err().contains("may be running"));
        user.0.ended("a");
        user.begin("7", "c", now).unwrap();
        assert!(user.begin("7", "d", now).is_err());
        user.begin("7", "d", now + LONGEST).unwrap();
        user.0.0.lock().forget_all_old(now + LONGEST * 2);
        let counts = user.0.0.lock();
        assert!(counts.users.is_empty() && counts.running.is_empty(), "nothing is left of them");
    }
}
