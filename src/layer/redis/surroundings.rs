//! What else shares the Redis server: other databases and other clusters, where a publisher may be
//! writing by mistake.

use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, InfoKind};

use super::connect::Commands;
use super::names::Names;

/// Most other clusters that are named.
const MAX_CLUSTERS: usize = 8;

/// What else shares the Redis server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The cluster of this instance.
    pub cluster: String,
    /// The database of this instance.
    pub database: u8,
    /// The databases that hold keys, this one perhaps among them.
    pub databases: Vec<u8>,
    /// Other clusters with a live instance on this server, whatever their database; empty if Redis
    /// does not allow `PUBSUB CHANNELS`.
    pub other_clusters: Vec<String>,
}

impl Surroundings {
    /// Asks the server; `None` if it does not answer.
    pub(super) async fn of(commands: &Commands, names: &Names, database: u8) -> Option<Self> {
        let info = commands.info::<String>(Some(InfoKind::Keyspace)).await.ok()?;
        let channels = CustomCommand::new("PUBSUB", ClusterHash::FirstKey, false);
        let control = vec!["CHANNELS", "*:control"];
        let found: Vec<String> = commands.custom(channels, control).await.unwrap_or_default();
        let clusters = found.iter().filter_map(|channel| channel.strip_suffix(":control"));
        let others = clusters.filter(|cluster| *cluster != names.cluster());
        Some(Self {
            cluster: names.cluster().to_owned(),
            database,
            databases: databases(&info),
            other_clusters: others.take(MAX_CLUSTERS).map(str::to_owned).collect(),
        })
    }
}

/// The databases of `INFO keyspace`, which has a line such as `db0:keys=3,expires=0` for each.
fn databases(info: &str) -> Vec<u8> {
    let lines = info.lines().filter_map(|line| line.strip_prefix("db")?.split_once(':'));
    lines.filter_map(|(number, _)| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::databases;

    #[test]
    fn reads_the_databases_that_hold_keys() {
        let info = "# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\ndb11:keys=1,expires=1\r\n";
        assert_eq!(databases(info), [0, 11]);
        assert!(databases("# Keyspace\r\n").is_empty());
    }
}
