//! The only integration binary: real gateways and sockets. Each file is named after a behaviour.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

// The order of the rooms; the length of files and functions.
mod architecture;
// The command line: exit codes, errors on stderr, the first line of the log.
mod commands;
mod dev_with_site;
// Diagnosis.
mod doctor;
mod doctor_of_rabbitmq;
// The start of a Django project.
mod init_django;

// The documents agree with the gateway.
mod protocol_document;
mod transcripts;
// The oracle that checks the clients of the tests below.
mod oracle;

// What well-behaved clients and back ends can rely on.
mod calls;
mod channels_elsewhere;
mod closed_by_backend;
mod connect_hook;
mod console_operations;
mod console_why;
mod converses_in_v1;
mod delivers_in_order;
mod drains_ingress;
mod drains_rabbitmq;
mod http_api;
mod joins_and_leaves;
mod left_out_on_return;
mod log_lines;
mod mailboxes;
mod membership_by_backend;
mod metrics;
mod name_churn;
mod once_across_instances;
mod plain_clients;
mod publishes_from_libraries;
mod publishes_once;
mod rabbitmq_over_tls;
mod receives_group_send;
mod renews_tokens;
mod sends_to_django;
mod starts_tasks;
mod two_instances;
mod watches_tasks;

// Misbehaving clients are refused, and others do not notice.
mod bad_events;
mod bad_frames;
mod handshakes;
mod limits;
mod origin_and_cookie;
mod refuses_bad_tokens;
mod silent_clients;
mod slow_readers;

// Redis is far away, everything comes back to it at once, or a group is flooded.
mod distant_redis;
mod flood_sources;
mod floods;
mod waves;

// Redis fails.
mod failing_redis;
mod follows_sentinels;
mod loses_no_command;
mod mends_losses;
mod refusing_redis;
mod survives_redis;
mod survives_redis_with_django;

// RabbitMQ fails, or the layer does while messages come from it.
mod survives_rabbitmq;

// Instances, Redis and the way between them fail.
mod chaos;
mod stopped_instances;

// Shutdown.
mod drains_on_sigterm;
