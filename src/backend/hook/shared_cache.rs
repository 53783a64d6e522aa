//! Verdicts shared by instances through the layer's Redis, so that a restart does not flood the
//! site.

use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::request::VerdictKey;
use super::verdict::AskedAt;
use crate::backend::BackendResponse;
use crate::event::Stamp;
use crate::layer::Redis;

/// Longest wait for Redis: after that, asking the site is faster.
const REDIS_TIMEOUT: Duration = Duration::from_millis(250);

/// Bytes of the HMAC before each entry.
const TAG_LEN: usize = 32;

/// An answer of the hook, with its time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CachedVerdict {
    /// Seconds since 1970.
    pub(super) at: u64,
    /// The newest command then; precedes all if an older release stored it.
    #[serde(default, with = "stamp_as_pair")]
    pub(super) stamp: Stamp,
    status: u16,
    body: String,
}

impl CachedVerdict {
    /// `None` = cannot be shared: the body is not UTF-8.
    pub(super) fn of(answer: &BackendResponse, asked: AskedAt) -> Option<Self> {
        let body = String::from_utf8(answer.body.to_vec()).ok()?;
        let AskedAt { unix: at, stamp } = asked;
        Some(Self { at, stamp, status: answer.status.as_u16(), body })
    }

    /// The original response.
    pub(super) fn answer(&self) -> Option<BackendResponse> {
        let status = StatusCode::from_u16(self.status).ok()?;
        let body = Bytes::copy_from_slice(self.body.as_bytes());
        Some(BackendResponse { status, location: None, json: true, body })
    }

    /// Stores it for other instances, signed: write access to Redis must not suffice to forge an
    /// identity. A failure only costs another request to the site.
    pub(super) async fn store(
        &self,
        redis: &Redis,
        secret: &hmac::Key,
        key: &VerdictKey,
        time: Duration,
    ) {
        let text = serde_json::to_vec(self).expect("numbers and text always serialize");
        let mut entry = hmac::sign(secret, &signed(key, &text)).as_ref().to_vec();
        entry.extend_from_slice(&text);
        if let Err(error) = redis.cache(&name(key), entry.into(), time).await {
            tracing::debug!(%error, "hook response not shared");
        }
    }

    /// Loads what another instance stored.
    pub(super) async fn load(redis: &Redis, secret: &hmac::Key, key: &VerdictKey) -> Option<Self> {
        let name = name(key);
        let entry = tokio::time::timeout(REDIS_TIMEOUT, redis.cached(&name)).await.ok()?.ok()??;
        let (tag, text) = entry.split_at_checked(TAG_LEN)?;
        if hmac::verify(secret, &signed(key, text), tag).is_err() {
            tracing::warn!(
                "cached hook response has an invalid signature; is the first backend.key the same \
                 on all instances?"
            );
            return None;
        }
        serde_json::from_slice(text).ok()
    }
}

mod stamp_as_pair {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::event::Stamp;

    pub(super) fn serialize<S: Serializer>(stamp: &Stamp, to: S) -> Result<S::Ok, S::Error> {
        (stamp.generation, stamp.number).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Stamp, D::Error> {
        let (generation, number) = Deserialize::deserialize(from)?;
        Ok(Stamp { generation, number })
    }
}

fn name(key: &VerdictKey) -> String {
    format!("hook:{}", HEXLOWER.encode(key))
}

fn signed(key: &VerdictKey, text: &[u8]) -> Vec<u8> {
    [b"groupcast hook note\n", key.as_slice(), text].concat()
}
