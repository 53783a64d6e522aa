//! Small values that instances share for a while. Losing one only costs repeated work.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::{Redis, Script};
use crate::layer::LayerError;

/// A hash of one field, because the documented rights include its commands anyway.
static STORE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[
        "redis.call('HSET', KEYS[1], 'note', ARGV[1])\n",
        "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n",
    ])
});

static LOOK_UP: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["return redis.call('HMGET', KEYS[1], 'note')[1]"]));

/// Stores a value unless there is one; returns what was there.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[
        "local earlier = redis.call('HMGET', KEYS[1], 'note')[1]\n",
        "if earlier then return earlier end\n",
        "redis.call('HSET', KEYS[1], 'note', ARGV[1])\n",
        "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n",
        "return false\n",
    ])
});

static FORGET: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["redis.call('PEXPIRE', KEYS[1], 0)\n"]));

impl Redis {
    /// Stores `value` under `name` for as long as `ttl`, unless there is another one, which is
    /// returned.
    pub async fn claim(
        &self,
        name: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<Option<Bytes>, LayerError> {
        self.0.redis_health.check_answering()?;
        let millis = Bytes::from(ttl.as_millis().max(1).to_string());
        let key = vec![self.0.names.cached(name)];
        Ok(CLAIM.run(&self.0.commands, key, vec![value, millis]).await?)
    }

    /// Removes the value stored under `name`.
    pub async fn forget(&self, name: &str) -> Result<(), LayerError> {
        self.0.redis_health.check_answering()?;
        let key = vec![self.0.names.cached(name)];
        Ok(FORGET.run::<()>(&self.0.commands, key, Vec::new()).await?)
    }

    /// Stores `value` under `name` for as long as `ttl`.
    pub async fn cache(&self, name: &str, value: Bytes, ttl: Duration) -> Result<(), LayerError> {
        self.0.redis_health.check_answering()?;
        let millis = Bytes::from(ttl.as_millis().max(1).to_string());
        let key = vec![self.0.names.cached(name)];
        Ok(STORE.run::<()>(&self.0.commands, key, vec![value, millis]).await?)
    }

    /// The value stored under `name`, if it has not expired.
    pub async fn cached(&self, name: &str) -> Result<Option<Bytes>, LayerError> {
        self.0.redis_health.check_answering()?;
        Ok(LOOK_UP.run(&self.0.commands, vec![self.0.names.cached(name)], Vec::new()).await?)
    }
}
