//! What the tests share: gateways, clients, HTTP requests, Redis and
//! RabbitMQ servers, waiting with a deadline.

mod amqp;
#[allow(dead_code, reason = "the tests of the room tls use the rest")]
mod authority;
mod back_end;
mod delivery_oracle;
mod django;
mod endpoints;
mod folder;
mod forwarder;
mod gateway;
mod http;
mod instance;
mod json_match;
mod outage_trial;
mod process;
mod python;
mod rabbit;
mod raw;
mod redis;
mod seeded_random;
mod sentinels;
mod snapshot;
mod socket;
mod token;
mod virtual_clients;
mod waiting;

pub(crate) use amqp::{Amqp, DeadLetter};
pub(crate) use authority::Authority;
pub(crate) use back_end::BackEnd;
pub(crate) use delivery_oracle::{DeliveryOracle, Numbers};
pub(crate) use django::{Django, expected_of, expected_of_all, mailbox};
pub(crate) use endpoints::Endpoints;
pub(crate) use folder::Folder;
pub(crate) use forwarder::Forwarder;
pub(crate) use gateway::Gateway;
pub(crate) use http::{Answer, request};
pub(crate) use instance::{Instance, refused};
pub(crate) use json_match::{Placeholders, assert_json_matches};
pub(crate) use outage_trial::{Cost, OutageTrial};
pub(crate) use process::Running;
pub(crate) use python::Python;
pub(crate) use rabbit::RabbitServer;
pub(crate) use raw::{Opcode, Raw, client_frame, upgrade_request};
pub(crate) use redis::{RedisServer, resp};
pub(crate) use seeded_random::SeededRandom;
pub(crate) use sentinels::WatchedRedis;
pub(crate) use snapshot::Snapshot;
pub(crate) use socket::{Received, Socket};
pub(crate) use token::{
    API_SECRET, COMMON_CONFIG, HOUR, claims, complete_config, expired, sign, token,
};
pub(crate) use virtual_clients::{Addresses, Expected, VirtualClients};
pub(crate) use waiting::{eventually, soon};
