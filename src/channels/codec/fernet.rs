//! Fernet tokens, as channels_redis encrypts: AES-128-CBC under HMAC-SHA256, in URL-safe base64.
//!
//! A token is `0x80 | seconds since 1970, u64 big-endian | IV, 16 bytes | ciphertext | HMAC of all
//! before, 32 bytes` (github.com/fernet/spec). The timestamp gives a message's age.

use aws_lc_rs::cipher::{
    AES_128, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use data_encoding::BASE64URL;

use super::CodecError;

/// How every token begins: the version and the upper 22 bits of the time, which stay zero for
/// another hundred thousand years.
pub(super) const BEGINNING: &[u8] = b"gAAAA";

const VERSION: u8 = 0x80;
const HEADER: usize = 1 + 8 + 16;
const BLOCK: usize = 16;
const TAG: usize = 32;

/// Seconds that a sender's clock may be ahead: Fernet's own allowance (`_MAX_CLOCK_SKEW` of
/// cryptography).
const MAX_AHEAD: u64 = 60;

/// One key.
pub(super) struct Fernet {
    sign: hmac::Key,
    encrypt: PaddedBlockEncryptingKey,
    decrypt: PaddedBlockDecryptingKey,
}

impl Fernet {
    /// channels_redis hashes the configured key, of any length: the first half of the SHA-256
    /// signs, the second encrypts.
    pub(super) fn new(configured: &[u8]) -> Self {
        let hash = digest(&SHA256, configured);
        let (sign, encrypt) = hash.as_ref().split_at(BLOCK);
        let aes = || UnboundCipherKey::new(&AES_128, encrypt).expect("16 bytes are an AES-128 key");
        Self {
            sign: hmac::Key::new(hmac::HMAC_SHA256, sign),
            encrypt: PaddedBlockEncryptingKey::cbc_pkcs7(aes()).expect("AES-128 has CBC"),
            decrypt: PaddedBlockDecryptingKey::cbc_pkcs7(aes()).expect("AES-128 has CBC"),
        }
    }

    /// `prefix`, and behind it the token of `message`.
    pub(super) fn encrypt(
        &self,
        mut message: Vec<u8>,
        prefix: &[u8],
        iv: [u8; 16],
        now: u64,
    ) -> Vec<u8> {
        self.encrypt
            .less_safe_encrypt(&mut message, EncryptionContext::Iv128(FixedLength::from(iv)))
            .expect("padded AES-CBC takes every length");
        let mut token = Vec::with_capacity(HEADER + message.len() + TAG);
        token.push(VERSION);
        token.extend_from_slice(&now.to_be_bytes());
        token.extend_from_slice(&iv);
        token.extend_from_slice(&message);
        token.extend_from_slice(hmac::sign(&self.sign, &token).as_ref());

        let mut entry = vec![0; prefix.len() + BASE64URL.encode_len(token.len())];
        let (front, text) = entry.split_at_mut(prefix.len());
        front.copy_from_slice(prefix);
        BASE64URL.encode_mut(&token, text);
        entry
    }
}

/// The message within `token` by the first of `keys` that fits, and when it was written, seconds
/// since 1970.
///
/// The time is read only after the signature was verified, so it is the sender's.
pub(super) fn decrypt(keys: &[Fernet], token: &[u8]) -> Result<(Vec<u8>, u64), CodecError> {
    let mut bytes =
        BASE64URL.decode(token).map_err(|_| CodecError::Token("not URL-safe base64"))?;
    let signed = bytes.len().checked_sub(TAG).filter(|signed| *signed >= HEADER + BLOCK);
    let signed = signed.ok_or(CodecError::Token("too short"))?;
    let (head, tag) = bytes.split_at(signed);
    let fits = |key: &&Fernet| hmac::verify(&key.sign, head, tag).is_ok();
    let key = keys.iter().find(fits).ok_or(CodecError::NoKeyFits(keys.len()))?;

    let (seconds, iv) = head[1..HEADER].split_at(8);
    let written = u64::from_be_bytes(seconds.try_into().expect("cut at 8"));
    let iv = FixedLength::try_from(iv).expect("16 bytes of the header are left");
    let in_clear = key
        .decrypt
        .decrypt(&mut bytes[HEADER..signed], DecryptionContext::Iv128(iv))
        .map_err(|_| CodecError::Token("its ciphertext is no padded blocks"))?
        .len();
    bytes.truncate(HEADER + in_clear);
    bytes.drain(..HEADER);
    Ok((bytes, written))
}

/// Whether a message `written` then may still be read `now`; all in seconds.
pub(super) fn check_age(written: u64, now: u64, max: u64) -> Result<(), CodecError> {
    match (now.saturating_sub(written), written.saturating_sub(now)) {
        (age, _) if age > max => Err(CodecError::Stale { age, max }),
        (_, ahead) if ahead > MAX_AHEAD => Err(CodecError::Early { ahead, max: MAX_AHEAD }),
        _ => Ok(()),
    }
}
