//! Signs requests, so that the back end recognises the gateway.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

use super::{BackendError, Settings};

/// Header of the signature.
pub(super) const SIGNATURE: &str = "groupcast-signature";

/// Signs with the first key.
#[derive(Debug)]
pub(super) struct Signer {
    id: String,
    key: hmac::Key,
}

/// The signed parts of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    /// Seconds since 1970; the back end refuses more than five minutes' difference.
    pub(super) time: u64,
    pub(super) method: &'a str,
    /// Path and query as they are sent.
    pub(super) target: &'a str,
    /// The value of `Groupcast-Path`, empty where there is none.
    pub(super) path: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Signer {
    pub(super) fn new(settings: &Settings) -> Result<Self, BackendError> {
        let first = settings.keys.first().ok_or(BackendError::NoKey)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &first.secret);
        Ok(Self { id: first.id.clone(), key })
    }

    /// The header's value: `t=<seconds>,kid=<key>,v1=<hex>`.
    ///
    /// Only the last part may contain a line feed, so the lines are unambiguous.
    pub(super) fn sign(&self, signed: &Signed<'_>) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        let time = signed.time.to_string();
        for line in
            [time.as_bytes(), signed.method.as_bytes(), signed.target.as_bytes(), signed.path]
        {
            context.update(line);
            context.update(b"\n");
        }
        context.update(signed.body);
        let digest = HEXLOWER.encode(context.sign().as_ref());
        format!("t={time},kid={},v1={digest}", self.id)
    }
}
