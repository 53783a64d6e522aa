//! The hook request for a visitor.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Once;

use aws_lc_rs::hmac;
use hyper::header::{
    ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    USER_AGENT,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::address::{Address, is_proxy};
use crate::backend::path_header::{PATH, path_header};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The browser's headers that are forwarded.
const FORWARDED: [HeaderName; 8] = [
    HOST,
    COOKIE,
    AUTHORIZATION,
    ORIGIN,
    USER_AGENT,
    ACCEPT_LANGUAGE,
    FORWARDED_FOR,
    FORWARDED_PROTO,
];

/// Headers that a verdict may depend on; the others are forwarded for the site's logs.
const DECISIVE: [HeaderName; 4] = [HOST, COOKIE, AUTHORIZATION, PATH];

/// Percent-encoded in a query: all but the unreserved characters (RFC 3986, section 2.3).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A visitor's request. Its headers are copies: the originals are views of a whole read buffer.
#[derive(Debug, Clone)]
pub struct HookRequest {
    /// The route's parameters, encoded for a URL, in the order of the path.
    query: String,
    headers: HeaderMap,
    /// The visitor's address; `None` = unknown.
    address: Option<Address>,
}

/// Logs once that a proxy is trusted.
static TRUSTED: Once = Once::new();

/// The key of a cached verdict: a digest, so that no cookie is stored.
pub(super) type VerdictKey = [u8; 32];

impl HookRequest {
    /// The request for `path` with these headers, from `peer`.
    ///
    /// Without a proxy's headers, the peer's address and `http` are forwarded.
    pub fn new(
        path: &str,
        parameters: &[(String, String)],
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Self {
        let mut query = String::new();
        for (name, value) in parameters {
            let join = if query.is_empty() { '?' } else { '&' };
            query.push(join);
            query.extend(utf8_percent_encode(name, QUERY));
            query.push('=');
            query.extend(utf8_percent_encode(value, QUERY));
        }
        let mut copies = HeaderMap::with_capacity(FORWARDED.len() + 1);
        for name in FORWARDED {
            let lines: Vec<_> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
            let value = match lines.as_slice() {
                [] => continue,
                // RFC 9113, section 8.2.3: a cookie may be split over several lines.
                several if name == COOKIE => several.join(&b"; "[..]),
                // A proxy may add its line after the client's. The list names every hop, the
                // nearest proxy last; with the first line alone, the client's would be trusted.
                several if name == FORWARDED_FOR => several.join(&b", "[..]),
                [.., last] if name == FORWARDED_PROTO => last.to_vec(),
                [first, ..] => first.to_vec(),
            };
            copies.extend(HeaderValue::from_bytes(&value).ok().map(|value| (name, value)));
        }
        let forwarded_for = copies.get(FORWARDED_FOR).and_then(|value| value.to_str().ok());
        let address = Address::behind(peer, forwarded_for.unwrap_or_default());
        if let Some(peer) = peer.filter(|peer| forwarded_for.is_some() && is_proxy(*peer)) {
            TRUSTED.call_once(|| {
                tracing::info!(
                    %peer,
                    "a peer with a private address is taken for a proxy: its X-Forwarded-For names \
                     the client (logged once)"
                );
            });
        }
        if !copies.contains_key(FORWARDED_FOR)
            && let Some(Ok(peer)) = peer.map(|peer| HeaderValue::from_str(&peer.to_string()))
        {
            copies.insert(FORWARDED_FOR, peer);
        }
        copies.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
        copies.insert(PATH, path_header(path));
        Self { query, headers: copies, address }
    }

    /// The request of a described browser. A host or cookie that is illegal in a header is left
    /// out, since no browser sends it.
    pub fn described(path: &str, host: &str, cookie: Option<&str>) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, Some(host)), (COOKIE, cookie)] {
            let value = value.and_then(|value| HeaderValue::from_str(value).ok());
            headers.extend(value.map(|value| (name, value)));
        }
        Self::new(path, &[], &headers, None)
    }

    /// The visitor's address; `None` = unknown.
    pub(super) fn address(&self) -> Option<Address> {
        self.address
    }

    pub(super) fn query(&self) -> &str {
        &self.query
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn key(&self, secret: &hmac::Key) -> VerdictKey {
        let mut context = hmac::Context::with_key(secret);
        context.update(b"groupcast hook");
        for name in DECISIVE {
            // No value contains a line feed.
            context.update(b"\n");
            context.update(self.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default());
        }
        context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// A compact form, stored with the connection, to repeat the request.
    pub fn pack(&self) -> Arc<[u8]> {
        let mut packed = self.query.clone().into_bytes();
        for (name, value) in &self.headers {
            packed.push(b'\n');
            packed.extend_from_slice(name.as_str().as_bytes());
            packed.push(b':');
            packed.extend_from_slice(value.as_bytes());
        }
        packed.into()
    }

    /// The packed request; `None` if these bytes are not one.
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let mut lines = packed.split(|byte| *byte == b'\n');
        let query = str::from_utf8(lines.next()?).ok()?.to_owned();
        let mut headers = HeaderMap::with_capacity(FORWARDED.len() + 1);
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            headers.insert(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
        }
        Some(Self { query, headers, address: None })
    }
}
