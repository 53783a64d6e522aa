//! The tasks that were started for browsers and have not ended: they are watched until they have.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use super::start::{LONGEST, MAX_RUNNING, Quotas};

/// Those that were started on this instance.
pub(super) struct StartedTasks {
    quotas: Quotas,
    /// Those that have not ended, with the number of their start.
    running: HashMap<String, u64>,
    /// The same in the order of their start, to forget those that never end.
    by_age: BTreeMap<u64, (Instant, String)>,
    begun: u64,
    /// Those that ended since they were last taken.
    ended: Vec<String>,
}

impl StartedTasks {
    pub(super) fn new(quotas: Quotas) -> Self {
        let (running, by_age, ended) = Default::default();
        Self { quotas, running, by_age, begun: 0, ended }
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.running.contains_key(id)
    }

    pub(super) fn begin(&mut self, id: String, now: Instant) {
        while let Some((_, (since, oldest))) = self.by_age.first_key_value()
            && (now.saturating_duration_since(*since) >= LONGEST
                || self.running.len() >= MAX_RUNNING)
        {
            let oldest = oldest.clone();
            self.end(&oldest);
        }
        self.begun += 1;
        self.by_age.insert(self.begun, (now, id.clone()));
        self.running.insert(id, self.begun);
    }

    /// A task has ended, perhaps one of these.
    pub(super) fn end(&mut self, id: &str) {
        if let Some((id, number)) = self.running.remove_entry(id) {
            self.by_age.remove(&number);
            self.quotas.ended(&id);
            self.ended.push(id);
        }
    }

    /// Those that have ended since the last time.
    pub(super) fn take_ended(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_never_ends_after_an_hour() {
        let (mut started, now) = (StartedTasks::new(Quotas::default()), Instant::now());
        for id in ["a", "b", "c"] {
            started.begin(id.to_owned(), now);
        }
        started.end("b");
        started.end("unknown");
        assert_eq!(started.take_ended(), ["b"]);
        started.begin("d".to_owned(), now + LONGEST);
        assert_eq!(started.take_ended(), ["a", "c"]);
        assert!(started.contains("d") && !started.contains("a"));
        assert_eq!((started.running.len(), started.by_age.len()), (1, 1));
    }
}
