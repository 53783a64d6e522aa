//! Notes that instances leave for each other: small, for a short while, and nobody's loss.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::{Redis, Script};
use crate::layer::LayerError;

/// A hash of one field: the layer's rights have its commands already.
static NOTE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[
        "redis.call('HSET', KEYS[1], 'note', ARGV[1])\n",
        "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n",
    ])
});

static RECALL: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["return redis.call('HMGET', KEYS[1], 'note')[1]"]));

impl Redis {
    /// Leaves `note` under `name` for so long, for whoever asks.
    pub async fn note(&self, name: &str, note: Bytes, time: Duration) -> Result<(), LayerError> {
        self.check_speaking()?;
        let millis = Bytes::from(time.as_millis().max(1).to_string());
        let key = vec![self.0.names.note(name)];
        Ok(NOTE.run::<()>(&self.0.commands, key, vec![note, millis]).await?)
    }

    /// What was left under `name`, if it still lies there.
    pub async fn recall(&self, name: &str) -> Result<Option<Bytes>, LayerError> {
        self.check_speaking()?;
        Ok(RECALL.run(&self.0.commands, vec![self.0.names.note(name)], Vec::new()).await?)
    }
}
