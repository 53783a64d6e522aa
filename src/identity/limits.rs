//! Fixed limits.

use std::time::Duration;

/// The supported algorithms.
pub const ALGORITHMS: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA",
];

/// Shortest HMAC secret, bytes: the output of SHA-256 (RFC 7518, 3.2), which cannot be guessed for
/// HS384 and HS512 either. The length of their own outputs is not required, since the secrets of
/// many sites, such as Django's `SECRET_KEY`, have 50 characters.
pub const MIN_SECRET_LEN: usize = 32;

/// Shortest secret of an API key, bytes. 16 random characters of base64 are 96 bits.
pub const MIN_API_SECRET_LEN: usize = 16;

/// Longest token, bytes. It limits what an unauthenticated client can make the gateway decode; a
/// token of 8 KiB would not fit into the headers of most servers either.
pub const MAX_TOKEN_LEN: usize = 8 * 1024;

/// The longest configurable leeway: enough for clocks synchronised by NTP.
pub const MAX_LEEWAY: Duration = Duration::from_secs(10);

/// The longest external value in errors and logs, in characters.
pub(super) const EXCERPT: usize = 60;
