//! The doorbell: a command is never left in the inbox of a shard that sleeps.

use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Waker};
use tokio::sync::oneshot;

use crate::hub::command::Command;
use crate::hub::inbox::Inbox;
use crate::hub::shard::DOORBELL;

/// Far longer than any thread waits to be scheduled: a sleep of this length is a lost wake-up.
const LOST: Duration = Duration::from_secs(20);

/// Each sender waits for its command to be taken before it sends the next, so the shard falls asleep
/// all the time, and every command races with it.
#[test]
fn a_command_wakes_the_shard_whenever_it_comes() {
    const ROUNDS: u64 = 20_000;
    const SENDERS: u64 = 2;
    let mut poll = Poll::new().unwrap();
    let waker = Waker::new(poll.registry(), DOORBELL).unwrap();
    let (inbox, mut receiver) = Inbox::new(16, waker);
    let doorbell = inbox.doorbell();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let inbox = inbox.clone();
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    let (reply, taken) = oneshot::channel();
                    let command = Command::LookAtUser("7".into(), reply);
                    assert!(inbox.try_send(command).is_ok());
                    // The shard drops the reply when it takes the command.
                    let _ = taken.blocking_recv();
                    for _ in 0..(round * (sender + 3)) % 64 {
                        std::hint::spin_loop();
                    }
                }
            })
        })
        .collect();
    drop(inbox);

    let mut naps = 0;
    let mut events = Events::with_capacity(8);
    let mut taken = 0;
    while taken < ROUNDS * SENDERS {
        doorbell.lie_down();
        if receiver.is_empty() {
            let began = Instant::now();
            poll.poll(&mut events, Some(LOST)).unwrap();
            assert!(began.elapsed() < LOST, "asleep with {} in the inbox", receiver.len());
            naps += 1;
        }
        doorbell.get_up();
        while receiver.try_recv().is_ok() {
            taken += 1;
        }
    }
    for sender in senders {
        sender.join().unwrap();
    }
    assert!(naps > 100, "the race was hardly run");
}
