//! Limits concurrent requests to the hook. Addresses take turns, so that a visitor with a thousand
//! cookies does not fill the queue ahead of all others.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::address::Address;
use crate::fair_queue::FairQueue;

/// The queue of one hook. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct HookTurns(Arc<Mutex<TurnTable>>);

#[derive(Debug)]
struct TurnTable {
    free: usize,
    waiting: FairQueue<Option<Address>, oneshot::Sender<HookTurn>>,
}

/// Permission for one request; passed to the next in the queue when dropped.
#[derive(Debug)]
pub(super) struct HookTurn(HookTurns);

impl HookTurns {
    /// Allows `parallel` requests at once, and a queue of at most `max_waiting`.
    pub(super) fn new(parallel: usize, max_waiting: usize) -> Self {
        let waiting = FairQueue::new(max_waiting);
        Self(Arc::new(Mutex::new(TurnTable { free: parallel, waiting })))
    }

    /// Waits for a turn; `None` if too many wait, most of them from this address.
    pub(super) async fn take(&self, address: Option<Address>) -> Option<HookTurn> {
        let granted = {
            let mut table = self.0.lock();
            if table.free > 0 {
                table.free -= 1;
                return Some(HookTurn(self.clone()));
            }
            let (turn, granted) = oneshot::channel();
            table.waiting.push(address, turn);
            granted
        };
        granted.await.ok()
    }
}

impl Drop for HookTurn {
    fn drop(&mut self) {
        let next = {
            let mut table = self.0.0.lock();
            let next = table.waiting.pop();
            if next.is_none() {
                table.free += 1;
            }
            next
        };
        // If the receiver is gone, the turn is returned, dropped, and passed to the next.
        if let Some(next) = next {
            drop(next.send(Self(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn address(number: u8) -> Option<Address> {
        Some(Address::of([192, 0, 2, number].into()))
    }

    fn now<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn a_visitor_with_many_cookies_waits_behind_one_with_one() {
        let turns = HookTurns::new(1, 3);
        let first = turns.take(address(1)).await.unwrap();
        let mut greedy: Vec<_> = (0..3).map(|_| Box::pin(turns.take(address(1)))).collect();
        for waiting in &mut greedy {
            assert!(now(waiting.as_mut()).is_pending());
        }
        let mut modest = Box::pin(turns.take(address(2)));
        assert!(now(modest.as_mut()).is_pending());
        let Poll::Ready(None) = now(greedy[2].as_mut()) else {
            panic!("the newest of the address with most is turned away");
        };
        drop(first);
        let Poll::Ready(Some(second)) = now(greedy[0].as_mut()) else { panic!("it came first") };
        drop(second);
        let Poll::Ready(Some(third)) = now(modest.as_mut()) else { panic!("the other's turn") };
        // A visitor that has gone does not keep its turn.
        drop(greedy);
        drop(third);
        assert!(now(turns.take(address(3))).is_ready());
    }
}
