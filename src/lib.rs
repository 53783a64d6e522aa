//! Groupcast: a real-time WebSocket channel-layer gateway.
//!
//! # One message, from `POST` to socket
//!
//! 1. `api`: `send::to_group` checks the key, the name and the event of a `POST`.
//! 2. `publish`: `Publisher::publish` bounds it, gives it an id, asks the layer.
//! 3. `layer`: `Layer::publish_many` carries it to every instance that wants the group;
//!    `Layer::publish_once` does where it has a key, unless it did before.
//! 4. `coordinator`: `dispatch` takes what the layer delivers, in order.
//! 5. `hub`: `Hub::post` posts it to the inboxes of the shards that have members.
//! 6. `hub`: `Delivery::fan_out` frames it once and links every receiver to the frame.
//! 7. `hub`: `Delivery::write_out` writes each socket once; what a socket does not take waits in
//!    the bounded outbox of its `socket`.
//!
//! Django's `group_send` comes in by `sources`, which drain mailboxes that `channels` describes,
//! and joins the others in step 4. `app` starts, supervises and stops all of it. `ARCHITECTURE.md`
//! has the other walks, the rooms and what each of them must never know.

mod address;
mod amqp;
mod api;
mod app;
pub mod backend;
mod bounded_map;
mod byte_budget;
mod celery;
pub mod channels;
pub mod clock;
pub mod config;
mod console;
mod coordinator;
pub mod dev;
pub mod doctor;
pub mod event;
mod excerpt;
mod failpoint;
mod fair_queue;
mod finding;
pub mod frame;
pub mod group;
mod http;
mod hub;
pub mod identity;
pub mod layer;
mod lua_table;
pub mod protocol;
mod publish;
mod recent_answer;
mod server;
mod shutdown;
mod socket;
mod sources;
mod supervisor;
mod telemetry;
mod tls;

pub use app::{DrainOutcome, Listeners, RunError, run, run_dev};
pub use http::LISTEN_BACKLOG;
