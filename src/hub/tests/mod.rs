//! The hub driven turn by turn: real shards and sockets, without threads and without waiting.

mod allocations;
mod bench;
mod churn;
mod closing;
mod confirming;
mod fixture;
mod joining;
mod life;
mod membership;
mod overload;
mod peer;
mod reading;
mod standing;
mod units;
mod waker;
