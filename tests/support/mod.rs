//! What the tests share: gateways, clients, the HTTP that back ends speak, waiting with a deadline.

mod back_end;
mod chance;
mod crowd;
mod django;
mod doors;
mod folder;
mod gateway;
mod http;
mod instance;
mod ledger;
mod likeness;
mod process;
mod python;
mod raw;
mod redis;
mod socket;
mod token;
mod waiting;

pub(crate) use back_end::BackEnd;
pub(crate) use chance::Chance;
pub(crate) use crowd::{Crowd, Goal, Places};
pub(crate) use django::{Django, goal};
pub(crate) use doors::Doors;
pub(crate) use folder::Folder;
pub(crate) use gateway::Gateway;
pub(crate) use http::{Answer, request};
pub(crate) use instance::{Instance, refused};
pub(crate) use ledger::{Ledger, Numbers};
pub(crate) use likeness::{Seen, assert_like};
pub(crate) use process::Running;
pub(crate) use python::Python;
pub(crate) use raw::{Opcode, Raw, client_frame, upgrade_request};
pub(crate) use redis::RedisServer;
pub(crate) use socket::{Said, Socket};
pub(crate) use token::{API_SECRET, BASICS, HOUR, claims, expired, sign, token, whole};
pub(crate) use waiting::{eventually, soon};
