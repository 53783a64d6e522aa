//! Questions of one instance to the others, for operators: answered within a deadline or not at
//! all.
//!
//! They do not wait in the queue of publications: an operator asks exactly when that is long. So
//! they have no order relative to events, and one that finds no room is lost; the asker names those
//! who were silent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::event::InstanceId;

/// Questions that may wait to be answered here. Each console asks one a second.
const WAITING: usize = 64;

/// Questions of this instance that may be open at once.
const MAX_OPEN: usize = 64;

/// Answers to one question that may wait: one per instance.
const ANSWERS: usize = 256;

/// Most bytes of a question or an answer.
pub const MAX_ANSWER: usize = 256 * 1024;

/// A question of another instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerQuestion {
    /// Who asks.
    pub from: InstanceId,
    /// Repeated by the answer.
    pub number: u64,
    /// What is asked.
    pub body: Bytes,
}

/// The answers to one question, as they arrive. Dropping it ends the question.
#[derive(Debug)]
pub struct PeerAnswers {
    /// Those asked; all that delivered at the latest heartbeat.
    pub asked: Vec<InstanceId>,
    pub(super) answers: mpsc::Receiver<(InstanceId, Bytes)>,
}

impl PeerAnswers {
    /// The next answer; `None` = nobody can answer any more.
    pub async fn next(&mut self) -> Option<(InstanceId, Bytes)> {
        self.answers.recv().await
    }

    /// Of a question that was asked of nobody.
    pub(super) fn none() -> Self {
        Self { asked: Vec::new(), answers: mpsc::channel(1).1 }
    }
}

/// The open questions of one instance, and those that it is asked.
pub(super) struct Questions {
    number: AtomicU64,
    open: Mutex<HashMap<u64, mpsc::Sender<(InstanceId, Bytes)>>>,
    asked: mpsc::Sender<PeerQuestion>,
    /// Until the one who answers has taken it.
    to_answer: Mutex<Option<mpsc::Receiver<PeerQuestion>>>,
}

impl Questions {
    pub(super) fn new() -> Self {
        let (asked, to_answer) = mpsc::channel(WAITING);
        Self {
            number: AtomicU64::new(0),
            open: Mutex::default(),
            asked,
            to_answer: Mutex::new(Some(to_answer)),
        }
    }

    /// The questions of others; `None` if they were taken before.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<PeerQuestion>> {
        self.to_answer.lock().take()
    }

    /// Opens a question: its number, and where its answers arrive; `None` = too many are open.
    pub(super) fn open(&self) -> Option<(u64, mpsc::Receiver<(InstanceId, Bytes)>)> {
        let mut open = self.open.lock();
        // Those whose asker has gone.
        open.retain(|_, answers| !answers.is_closed());
        if open.len() >= MAX_OPEN {
            return None;
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = mpsc::channel(ANSWERS);
        open.insert(number, sender);
        Some((number, receiver))
    }

    /// Takes an answer. One to a question that is not open, or beyond the room, is lost.
    pub(super) fn answered(&self, by: InstanceId, number: u64, body: Bytes) {
        if let Some(answers) = self.open.lock().get(&number) {
            let _ = answers.try_send((by, body));
        }
    }

    /// Takes a question. One beyond the room is lost.
    pub(super) fn asked(&self, question: PeerQuestion) {
        let _ = self.asked.try_send(question);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hands_answers_to_the_question_with_their_number() {
        let questions = Questions::new();
        let (first, mut of_first) = questions.open().expect("room");
        let (second, mut of_second) = questions.open().expect("room");
        let by: InstanceId = "k3f5a2bq".parse().expect("legal");
        questions.answered(by, second, Bytes::from_static(b"two"));
        questions.answered(by, first, Bytes::from_static(b"one"));
        questions.answered(by, 77, Bytes::from_static(b"none"));
        assert_eq!(of_first.recv().await, Some((by, Bytes::from_static(b"one"))));
        assert_eq!(of_second.recv().await, Some((by, Bytes::from_static(b"two"))));
    }

    #[test]
    fn an_abandoned_question_makes_room_for_another() {
        let questions = Questions::new();
        let held: Vec<_> = (0..MAX_OPEN).map(|_| questions.open().expect("room")).collect();
        assert!(questions.open().is_none());
        drop(held);
        assert!(questions.open().is_some());
    }
}
