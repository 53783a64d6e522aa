//! Turns, floods and places.

use super::*;
use crate::group::{GroupName, MemberCounts};

fn group(name: &str) -> QueueKey {
    QueueKey::Group(GroupName::parse(name).unwrap())
}

/// A message, or a mark.
#[derive(Debug)]
enum Entry {
    Message(&'static str, usize),
    LossOfAll(u64),
}

impl Queued for Entry {
    fn bytes(&self) -> Option<usize> {
        match self {
            Self::Message(_, bytes) => Some(*bytes),
            Self::LossOfAll(_) => None,
        }
    }

    fn loss_of_all(count: u64) -> Self {
        Self::LossOfAll(count)
    }

    fn merge(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::LossOfAll(count), Self::LossOfAll(more)) => {
                *count += more;
                None
            }
            (_, next) => Some(next),
        }
    }
}

impl GroupQueues<Entry> {
    fn send(&mut self, name: &'static str, bytes: usize) {
        self.push(Some(group(name)), Entry::Message(name, bytes));
    }

    fn command(&mut self) {
        self.push(None, Entry::Message("command", 10));
    }

    /// What comes next, up to so many entries.
    fn next(&mut self, count: usize) -> Vec<String> {
        let shown = |next| match next {
            Next::Entry(Entry::Message(name, _)) => name.to_owned(),
            Next::Entry(Entry::LossOfAll(count)) => format!("{count} less"),
            Next::Lost(QueueKey::Group(group), count) => format!("{count} less {group}"),
            Next::Lost(queue, count) => format!("{count} less {queue:?}"),
        };
        std::iter::from_fn(|| self.pop()).take(count).map(shown).collect()
    }

    fn is_at_rest(&self) -> bool {
        let nothing = self.messages + self.bytes + self.ends.messages + self.ends.bytes == 0;
        nothing && self.loads.is_empty() && self.sections.len() == 1 && self.sections[0].is_empty()
    }
}

#[test]
fn groups_take_turns_by_the_weight_of_their_messages() {
    let mut queues = GroupQueues::new(1000, 1 << 20);
    for _ in 0..4 {
        queues.send("large", 6 * 1024 - 256);
    }
    for _ in 0..40 {
        queues.send("small", 256);
    }
    let order = queues.next(44);
    let places = |name: &str| {
        let found = order.iter().enumerate().filter(|(_, it)| *it == name);
        found.map(|(at, _)| at).collect::<Vec<_>>()
    };
    // Six turns for each large one, in which the other sends two each.
    assert_eq!(places("large"), [0, 13, 26, 39]);
    assert!(queues.is_at_rest());
}

#[test]
fn groups_take_turns_by_their_members() {
    let (large, counts) = (GroupName::parse("large").unwrap(), Arc::new(MemberCounts::default()));
    (0..4096).for_each(|count| counts.change(&large, count, count + 1));
    let mut queues = GroupQueues::new(30_000, 1 << 24).weighed_by(counts);
    for _ in 0..3 {
        queues.send("large", 256);
    }
    for _ in 0..3000 {
        queues.send("small", 256);
    }
    let order = queues.next(3003);
    let places: Vec<_> =
        order.iter().enumerate().filter(|(_, it)| *it == "large").map(|(at, _)| at).collect();
    // 1 + 4096 / 4 times the weight, so that many of the others between two.
    assert!(places[0] <= 1, "{places:?}");
    for pair in places.windows(2) {
        assert!((1000..1050).contains(&(pair[1] - pair[0])), "{places:?}");
    }
    assert!(queues.is_at_rest());
}

#[test]
fn room_that_is_taken_counts_until_its_message_is_served_or_given_up() {
    let mut queues = GroupQueues::new(10, 1 << 20).lossless();
    let (a, b) = (Some(group("a")), Some(group("b")));
    let taken = |queues: &mut GroupQueues<_>, key: &Option<QueueKey>| {
        queues.reserve(key.as_ref(), 10, Duration::MAX)
    };
    let count = (0..9).filter(|_| taken(&mut queues, &a)).count();
    assert_eq!(count, 4, "one group does not take all");
    assert!(taken(&mut queues, &b), "another has room");
    queues.cancel(a.as_ref(), 10);
    queues.fill(b.clone(), 10, Entry::Message("b", 10));
    queues.fill(a.clone(), 10, Entry::Message("a", 10));
    assert_eq!(queues.next(9), ["b", "a"]);
    (0..2).for_each(|_| queues.cancel(a.as_ref(), 10));
    assert!(queues.is_at_rest());
}

#[test]
fn who_would_wait_for_too_long_is_not_taken() {
    let mut queues = GroupQueues::<Entry>::new(100, 1 << 20).lossless();
    let a = group("a");
    assert!(queues.reserve(Some(&a), 10, Duration::ZERO));
    queues.fill(Some(a.clone()), 10, Entry::Message("a", 10));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2) {
        std::thread::yield_now();
    }
    assert!(!queues.reserve(Some(&a), 10, Duration::from_millis(1)));
    assert!(queues.reserve(Some(&group("b")), 10, Duration::from_millis(1)));
    assert!(queues.reserve(None, 10, Duration::MAX), "a command is");
    let late = queues.late(Duration::from_millis(1), 64);
    let keys: Vec<_> = late.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [Some(a), None]);
}

#[test]
fn a_flood_loses_its_own_messages_and_one_gap_reports_it() {
    let mut queues = GroupQueues::new(90, 1 << 20);
    for _ in 0..100 {
        queues.send("flood", 1000);
    }
    queues.send("quiet", 10);
    assert_eq!(queues.next(2), ["flood", "quiet"], "what is new comes first");
    // Nothing more is taken until most of the share is free.
    queues.send("flood", 1000);
    let rest = queues.next(100);
    assert_eq!((rest.len(), &*rest[29]), (30, "71 less flood"));
    queues.send("flood", 1000);
    assert_eq!(queues.next(9), ["flood"]);
    assert!(queues.is_at_rest());
}

#[test]
fn two_floods_leave_room_for_others() {
    let mut queues = GroupQueues::new(100, 1 << 20);
    for _ in 0..1000 {
        queues.send("one", 1000);
        queues.send("two", 1000);
    }
    assert!(queues.messages <= 52, "{}", queues.messages);
    for _ in 0..10 {
        queues.send("quiet", 10);
    }
    let order = queues.next(200);
    assert_eq!(order.iter().filter(|it| *it == "quiet").count(), 10);
    assert_eq!(order.iter().filter(|it| it.contains("less")).count(), 2, "{order:?}");
    assert!(queues.is_at_rest());
}

#[test]
fn large_messages_leave_room_for_others() {
    let mut queues = GroupQueues::new(1000, 90_000);
    for _ in 0..10 {
        queues.send("large", 20_000);
    }
    queues.send("quiet", 10_000);
    assert_eq!(queues.next(9), ["large", "quiet", "9 less large"]);
}

#[test]
fn a_group_that_seldom_sends_does_not_wait_for_all_that_flood() {
    const FLOODS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let mut queues = GroupQueues::new(10_000, 1 << 20);
    for _ in 0..100 {
        FLOODS.iter().for_each(|name| queues.send(name, 1000));
    }
    queues.next(20);
    queues.send("quiet", 10);
    assert_eq!(queues.next(1), ["quiet"]);
}

#[test]
fn groups_that_are_new_all_the_time_do_not_stop_those_that_wait() {
    let mut queues = GroupQueues::new(10_000, 1 << 20);
    (0..3).for_each(|_| queues.send("waits", 1000));
    queues.next(1);
    let mut order = Vec::new();
    for _ in 0..100 {
        queues.send("a", 1000);
        queues.send("b", 1000);
        order.extend(queues.next(1));
    }
    assert_eq!(order.iter().filter(|it| *it == "waits").count(), 2);
}

#[test]
fn a_command_keeps_its_place_among_the_messages_of_every_group() {
    let mut queues = GroupQueues::new(800, 1 << 20);
    ["a", "a", "b"].iter().for_each(|name| queues.send(name, 2000));
    queues.command();
    queues.send("b", 2000);
    let order = queues.next(9);
    assert_eq!(order[3..], ["command", "b"], "{order:?}");
    assert!(queues.is_at_rest());
}

#[test]
fn an_overdue_command_does_not_wait_for_a_flood() {
    let mut queues = GroupQueues::new(1000, 1 << 20);
    for _ in 0..200 {
        queues.send("flood", 1000);
    }
    queues.send("quiet", 10);
    queues.command();
    queues.send("flood", 1000);
    assert_eq!(queues.next(2), ["flood", "quiet"]);
    let late = Instant::now().checked_sub(END_PATIENCE).unwrap();
    queues.sections[0].end.as_mut().unwrap().1 = late;
    assert!(queues.wait_of(Some(&group("quiet")), 0) >= END_PATIENCE, "it is behind the command");
    assert_eq!(queues.next(9), ["199 less flood", "command", "flood"]);
    assert!(queues.is_at_rest());
}

#[test]
fn a_flood_of_commands_leaves_room_and_is_reported_in_one_gap() {
    let mut queues = GroupQueues::new(90, 1 << 20);
    (0..100).for_each(|_| queues.command());
    queues.send("quiet", 10);
    let order = queues.next(200);
    assert_eq!((order.len(), &*order[30], &*order[31]), (32, "70 less", "quiet"));
    assert!(queues.is_at_rest());
}

#[test]
fn foresees_how_long_a_group_waits() {
    let mut queues = GroupQueues::new(800, 1 << 20);
    let (a, b) = (group("a"), group("b"));
    assert_eq!(queues.wait_of(Some(&a), 100), Duration::ZERO);
    for _ in 0..100 {
        queues.send("a", 10);
    }
    for _ in 0..3 {
        queues.next(1);
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1) {
            std::thread::yield_now();
        }
    }
    assert!(queues.wait_of(Some(&a), 0) >= Duration::from_millis(97));
    assert!(queues.wait_of(Some(&a), 100) >= Duration::from_millis(197));
    assert!(queues.wait_of(None, 0) >= Duration::from_millis(97), "it comes behind all");
    assert_eq!(queues.wait_of(Some(&b), 100), Duration::ZERO);
}
