//! The one integration binary: real gateways, real sockets, each file named after what it shows.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

// The rooms and their order, files and their length.
mod architecture;
// The command line: exit codes, sentences on stderr, the first line of the log.
mod commands;
mod dev_with_site;
// Diagnosis before anything is served.
mod doctor;
// What a Django project starts with.
mod init_django;

// The documents, compared with the gateway.
mod protocol_document;
mod transcripts;
// The oracle that judges the clients of the tests below.
mod oracle;

// What well-behaved clients and back ends can rely on.
mod calls;
mod closed_by_backend;
mod connect_hook;
mod converses_in_v1;
mod delivers_in_order;
mod drains_ingress;
mod http_api;
mod joins_and_leaves;
mod mailboxes;
mod membership_by_backend;
mod metrics;
mod plain_clients;
mod publishes_once;
mod receives_group_send;
mod renews_tokens;
mod sends_to_django;
mod two_instances;

// What happens to those that misbehave, and that nobody else notices.
mod bad_events;
mod bad_frames;
mod handshakes;
mod limits;
mod origin_and_cookie;
mod refuses_bad_tokens;
mod silent_clients;
mod slow_readers;

// What happens when Redis goes away.
mod survives_redis;
mod survives_redis_with_django;

// What happens when instances are killed and stopped.
mod chaos;

// Shutdown.
mod drains_on_sigterm;
