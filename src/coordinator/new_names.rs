//! Bounds the names that clients choose: each that is new here costs Redis a subscription, and a
//! minute of memory after it was left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// New names in a minute, of one user and of all. A page that scrolls joins some dozens a second; a
/// wave after a restart brings 200,000 within seconds.
const OF_USER: u32 = 6_000;
const OF_ALL: u32 = 600_000;

/// The time in which an empty budget fills.
const MINUTE: Duration = Duration::from_secs(60);

/// The budgets of one instance.
pub(super) struct NewNames {
    all: NameBudget,
    /// Of users whose budget is not full.
    users: HashMap<Arc<str>, NameBudget>,
}

struct NameBudget {
    most: u32,
    left: u32,
    /// Until when what has passed was added to `left`.
    at: Instant,
}

impl NameBudget {
    fn new(most: u32, now: Instant) -> Self {
        Self { most, left: most, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let each = MINUTE / self.most;
        let passed = now.saturating_duration_since(self.at).as_nanos() / each.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX).min(self.most);
        self.left = self.left.saturating_add(passed).min(self.most);
        self.at = if self.left == self.most { now } else { self.at + each * passed };
    }
}

impl NewNames {
    pub(super) fn new(now: Instant) -> Self {
        Self { all: NameBudget::new(OF_ALL, now), users: HashMap::new() }
    }

    /// Takes one new name of a user from the budgets. Whether there was room.
    pub(super) fn take(&mut self, user: &Arc<str>, now: Instant) -> bool {
        self.all.fill(now);
        let of_user = match self.users.get_mut(user) {
            Some(known) => known,
            None => {
                self.users.entry(Arc::clone(user)).or_insert_with(|| NameBudget::new(OF_USER, now))
            }
        };
        of_user.fill(now);
        let has_room = self.all.left > 0 && of_user.left > 0;
        if has_room {
            self.all.left -= 1;
            of_user.left -= 1;
        }
        has_room
    }

    /// Forgets users whose budget is full again.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.users.retain(|_, budget| {
            budget.fill(now);
            budget.left < budget.most
        });
        // After a wave nearly all are full: a hundred thousand users left several megabytes.
        self.users.shrink_to(2 * self.users.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_takes_no_more_names_than_a_minute_has_room_for() {
        let began = Instant::now();
        let mut names = NewNames::new(began);
        let (user, other): (Arc<str>, Arc<str>) = ("7".into(), "8".into());
        let taken = |names: &mut NewNames, user, now| {
            (0..2 * OF_USER).filter(|_| names.take(user, now)).count() as u32
        };
        assert_eq!(taken(&mut names, &user, began), OF_USER);
        assert_eq!(taken(&mut names, &other, began), OF_USER, "others have their own");
        let half = began + MINUTE / 2;
        assert_eq!(taken(&mut names, &user, half), OF_USER / 2);
        // In steps smaller than a name takes.
        let mut now = half;
        let mut count = 0;
        while now < half + MINUTE / 10 {
            now += Duration::from_millis(3);
            count += u32::from(names.take(&user, now));
        }
        assert!((OF_USER / 10 - 1..=OF_USER / 10 + 1).contains(&count), "{count}");
        names.tidy(now);
        assert_eq!(names.users.len(), 2);
        names.tidy(now + MINUTE);
        assert!(names.users.is_empty(), "nobody is remembered for longer");
    }

    #[test]
    fn all_users_together_take_no_more_names_than_an_instance_has_room_for() {
        let now = Instant::now();
        let mut names = NewNames::new(now);
        let users = (0..OF_ALL / OF_USER + 10).map(|n| n.to_string().into());
        let taken = users
            .map(|user: Arc<str>| (0..OF_USER).filter(|_| names.take(&user, now)).count() as u32);
        assert_eq!(taken.sum::<u32>(), OF_ALL);
    }
}
