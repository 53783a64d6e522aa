//! Secrets that a command makes.

use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;

/// Random bytes from the operating system.
fn random<const N: usize>() -> Result<[u8; N], &'static str> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| "the system random source is unavailable")?;
    Ok(bytes)
}

/// A secret of `N` random bytes that can be typed.
pub(super) fn random_text<const N: usize>() -> Result<String, &'static str> {
    random::<N>().map(|bytes| BASE64URL_NOPAD.encode(&bytes))
}
