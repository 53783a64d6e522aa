//! The waker: a command is never left in the inbox of a shard that sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Waker};
use tokio::sync::oneshot;

use crate::hub::command::PromptCommand;
use crate::hub::inbox::ShardInbox;
use crate::hub::inspection::Inspection;
use crate::hub::shard::WAKER;

/// Far longer than any thread waits to be scheduled: a sleep of this length is a lost wake-up.
const LOST: Duration = Duration::from_secs(10);

/// How long the race is run.
const TIME: Duration = Duration::from_secs(1);

/// The sender sends the next command as soon as the last was taken, a few instructions sooner or
/// later, so that each one races with the shard's last look before it sleeps. This finds steps in
/// the wrong order (a ring before its command); a missing fence shows too rarely to be found so.
#[test]
fn a_command_always_wakes_the_shard() {
    let mut poll = Poll::new().unwrap();
    let waker = Waker::new(poll.registry(), WAKER).unwrap();
    let (inbox, mut receiver) = ShardInbox::new(16, waker);
    let waker = inbox.waker();
    let (taken, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let sender = thread::spawn({
        let (taken, over) = (Arc::clone(&taken), Arc::clone(&over));
        move || {
            for round in 0_u64.. {
                while taken.load(Ordering::Acquire) < round {
                    std::hint::spin_loop();
                }
                if over.load(Ordering::Relaxed) {
                    return round;
                }
                for _ in 0..round % 61 {
                    std::hint::spin_loop();
                }
                let command = PromptCommand::Inspect(Inspection::OutboxBytes(oneshot::channel().0));
                assert!(inbox.try_send_promptly(command).is_ok());
            }
            unreachable!("the rounds are endless")
        }
    });

    let mut events = Events::with_capacity(8);
    let (began, mut naps) = (Instant::now(), 0);
    while began.elapsed() < TIME || !sender.is_finished() {
        over.store(began.elapsed() >= TIME, Ordering::Relaxed);
        waker.park();
        if receiver.is_empty() && !sender.is_finished() {
            let slept = Instant::now();
            // A sender that has ended rings no more.
            let longest =
                if over.load(Ordering::Relaxed) { Duration::from_millis(1) } else { LOST };
            poll.poll(&mut events, Some(longest)).unwrap();
            assert!(slept.elapsed() < LOST, "asleep with {} in the inbox", receiver.len());
            naps += 1;
        }
        waker.unpark();
        while receiver.prompt.try_recv().is_ok() {
            taken.fetch_add(1, Ordering::Release);
        }
    }
    let rounds = sender.join().unwrap();
    assert!(naps > 100, "the race was hardly run: {naps} naps in {rounds} rounds");
}
