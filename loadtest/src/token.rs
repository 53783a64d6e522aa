//! Tokens for the clients: HS256, made here so that ten thousand cost milliseconds.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;

/// Longer than any run.
const LIFETIME_SECONDS: u64 = 6 * 3600;

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Signs tokens of a given length.
pub struct Signer {
    key: hmac::Key,
    bytes: usize,
    expires: u64,
}

impl Signer {
    /// Tokens signed with `secret` and padded to `bytes` (or 3 less: base64 goes in steps) with a
    /// claim; 0 pads nothing.
    pub fn new(secret: &str, bytes: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Self { key, bytes, expires: now.as_secs() + LIFETIME_SECONDS }
    }

    /// The token of `sub`.
    pub fn token(&self, sub: &str) -> String {
        let signature = 44; // a dot and 43 letters
        let room = self.bytes.saturating_sub(HEADER.len() + 1 + signature) / 4 * 3;
        let exp = self.expires;
        let bare = format!(r#"{{"sub":"{sub}","exp":{exp},"pad":""}}"#);
        let pad = "p".repeat(room.saturating_sub(bare.len()));
        let claims = format!(r#"{{"sub":"{sub}","exp":{exp},"pad":"{pad}"}}"#);
        let signed = format!("{HEADER}.{}", BASE64URL_NOPAD.encode(claims.as_bytes()));
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_length_asked_for_and_a_signature_that_holds() {
        let signer = Signer::new("a secret of at least thirty-two bytes", 1024);
        let token = signer.token("u00042");
        assert!((1021..=1024).contains(&token.len()), "{} bytes", token.len());
        let (signed, tag) = token.rsplit_once('.').unwrap();
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).unwrap();
        hmac::verify(&signer.key, signed.as_bytes(), &tag).unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
        assert_eq!(decode(header), br#"{"alg":"HS256","typ":"JWT"}"#);
        let claims: serde_json::Value = serde_json::from_slice(&decode(claims)).unwrap();
        assert_eq!(claims["sub"], "u00042");
    }
}
