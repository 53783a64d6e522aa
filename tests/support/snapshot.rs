//! A copy of Redis' data, as a backup or a lagging replica would have it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::RedisServer;

/// A copy, removed when dropped.
pub(crate) struct Snapshot(PathBuf);

impl Snapshot {
    /// Copies the data of a running server.
    pub(crate) fn of(server: &RedisServer) -> Self {
        let to = server.folder.with_extension("snapshot");
        copy(&server.folder, &to);
        Self(to)
    }

    /// Replaces the data of a stopped server by the copy.
    pub(crate) fn put_back(self, server: &RedisServer) {
        server.wipe();
        copy(&self.0.join("."), &server.folder);
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &PathBuf, to: &PathBuf) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}
