//! What a Redis had stored at some moment, as a backup or a replica that lagged would have it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::RedisServer;

/// A copy, gone with the value.
pub(crate) struct Snapshot(PathBuf);

impl Snapshot {
    /// Of a server that runs.
    pub(crate) fn of(server: &RedisServer) -> Self {
        let to = server.folder.with_extension("snapshot");
        copy(&server.folder, &to);
        Self(to)
    }

    /// Makes it what a server that does not run will find.
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
