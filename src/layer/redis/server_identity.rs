//! Which server answers on a connection, and whether the address leads to another one by now.

use fred::interfaces::ClientLike;
use fred::types::InfoKind;

use super::connect::Commands;
use super::session::RedisSession;
use crate::layer::RedisSettings;

/// A server as `INFO` describes it.
#[derive(Debug, PartialEq, Eq)]
struct ServerIdentity {
    run_id: String,
    is_primary: bool,
}

impl ServerIdentity {
    fn read(info: &str) -> Option<Self> {
        let value = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        Some(Self { run_id: value("run_id")?.to_owned(), is_primary: value("role")? == "master" })
    }
}

/// Whether a new connection reaches another primary than the one of `commands`. Asked on a
/// connection of its own, so that those in use stay as they are.
pub(super) async fn has_another_primary(commands: &Commands, settings: &RedisSettings) -> bool {
    let Ok(session) = RedisSession::open(settings).await else { return false };
    let Ok(found) = session.ask::<String>(&["INFO"]).await else { return false };
    let known = commands.info::<String>(Some(InfoKind::Default)).await.unwrap_or_default();
    match (ServerIdentity::read(&found), ServerIdentity::read(&known)) {
        (Some(found), known) => {
            found.is_primary && known.is_none_or(|known| known.run_id != found.run_id)
        }
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_run_id_and_the_role() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n\r\nrole:slave\r\n";
        let expected = ServerIdentity { run_id: "abc".to_owned(), is_primary: false };
        assert_eq!(ServerIdentity::read(info), Some(expected));
        assert_eq!(ServerIdentity::read("run_id:abc\r\n"), None);
    }
}
