//! Words shared by instances through the layer's Redis, so that a restart is no herd on the site.

use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::request::Key;
use crate::backend::Answer;
use crate::layer::Redis;

/// Longest wait for Redis: who stands at the door is better served by asking the site.
const PATIENCE: Duration = Duration::from_millis(250);

/// Length of the mark before each note.
const MARK: usize = 32;

/// An answer of the hook, as it was given and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CachedVerdict {
    /// Seconds since 1970.
    pub(super) at: u64,
    status: u16,
    body: String,
}

impl CachedVerdict {
    /// `None` = not to be shared: the body is no text.
    pub(super) fn of(answer: &Answer, at: u64) -> Option<Self> {
        let body = String::from_utf8(answer.body.to_vec()).ok()?;
        Some(Self { at, status: answer.status.as_u16(), body })
    }

    /// The answer that was given.
    pub(super) fn answer(&self) -> Option<Answer> {
        let status = StatusCode::from_u16(self.status).ok()?;
        let body = Bytes::copy_from_slice(self.body.as_bytes());
        Some(Answer { status, location: None, json: true, body })
    }

    /// Leaves it for other instances, marked with the secret: who can write to Redis must not be
    /// able to say who somebody is. That it cannot be left is no fault: it is a favour.
    pub(super) async fn leave(&self, redis: &Redis, secret: &hmac::Key, key: &Key, time: Duration) {
        let text = serde_json::to_vec(self).expect("numbers and text always serialize");
        let mut note = mark(secret, key, &text).as_ref().to_vec();
        note.extend_from_slice(&text);
        if let Err(error) = redis.cache(&name(key), note.into(), time).await {
            tracing::debug!(%error, "the hook's answer is not shared");
        }
    }

    /// What another instance has left.
    pub(super) async fn find(redis: &Redis, secret: &hmac::Key, key: &Key) -> Option<Self> {
        let name = name(key);
        let note = tokio::time::timeout(PATIENCE, redis.cached(&name)).await.ok()?.ok()??;
        let (tag, text) = note.split_at_checked(MARK)?;
        if hmac::verify(secret, &marked(key, text), tag).is_err() {
            tracing::warn!("a verdict in Redis is not marked with the first of backend.key");
            return None;
        }
        serde_json::from_slice(text).ok()
    }
}

fn name(key: &Key) -> String {
    format!("hook:{}", HEXLOWER.encode(key))
}

fn mark(secret: &hmac::Key, key: &Key, text: &[u8]) -> hmac::Tag {
    hmac::sign(secret, &marked(key, text))
}

fn marked(key: &Key, text: &[u8]) -> Vec<u8> {
    [b"groupcast hook note\n", key.as_slice(), text].concat()
}
