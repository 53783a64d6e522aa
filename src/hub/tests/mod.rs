//! The hub driven turn by turn: real shards and sockets, without threads and without waiting.

mod bench;
mod closing;
mod doorbell;
mod joining;
mod life;
mod peer;
mod reading;
mod units;
