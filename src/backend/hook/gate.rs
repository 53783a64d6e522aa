//! Visitors about whom the hook is never asked: the site would refuse the request itself.

use hyper::header::{HOST, HeaderValue};

use super::HookRequest;

/// Longest line of a header and longest target, bytes: Apache's and gunicorn's default for a
/// header, and a buffer of nginx.
const MAX_LINE: usize = 8190;

/// What a request must be like.
#[derive(Debug)]
pub(super) struct HookGate {
    /// Names that a `Host` may have, in lower case; one that begins with a dot stands for all names
    /// below it, too. Empty = any.
    hosts: Vec<String>,
    /// Bytes of the hook's path.
    path: usize,
}

impl HookGate {
    pub(super) fn new(hosts: &[String], path: &str) -> Self {
        Self {
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            path: path.len(),
        }
    }

    /// Why the hook is not asked about `request`, if it is not.
    pub(super) fn refusal(&self, request: &HookRequest) -> Option<&'static str> {
        if !self.allows_host(request.headers().get(HOST)) {
            return Some("the hook is not asked: the Host is not in backend.allowed_hosts");
        }
        if self.path + request.query().len() > MAX_LINE {
            return Some("the hook is not asked: path and query are too long; at most 8190 bytes");
        }
        let too_long = |(name, value): (&hyper::header::HeaderName, &HeaderValue)| {
            name.as_str().len() + value.len() > MAX_LINE
        };
        request
            .headers()
            .iter()
            .any(too_long)
            .then_some("the hook is not asked: a header is too long; at most 8190 bytes")
    }

    fn allows_host(&self, host: Option<&HeaderValue>) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let Some(host) = host.and_then(|host| host.to_str().ok()) else { return false };
        let host = without_port(host).to_ascii_lowercase();
        self.hosts.iter().any(|allowed| match allowed.strip_prefix('.') {
            Some(domain) => host == domain || host.ends_with(allowed.as_str()),
            None => host == *allowed,
        })
    }
}

/// A `Host` without its port, whose colon follows the brackets of an IPv6 address.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_names_without_port_and_case() {
        let gate = HookGate::new(&["Shop.example".to_owned(), ".example.org".to_owned()], "/c");
        for (host, allowed) in [
            ("shop.example", true),
            ("SHOP.example:8443", true),
            ("example.org", true),
            ("a.b.example.org", true),
            ("badexample.org", false),
            ("evil.shop.example", false),
            ("shop.example.evil", false),
            ("[::1]:80", false),
            ("", false),
        ] {
            let value = HeaderValue::from_str(host).unwrap();
            assert_eq!(gate.allows_host(Some(&value)), allowed, "{host:?}");
        }
        assert!(!gate.allows_host(None));
        assert!(HookGate::new(&[], "/c").allows_host(None));
    }
}
