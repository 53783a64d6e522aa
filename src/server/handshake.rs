//! The opening handshake of RFC 6455, section 4.2, by hand: four headers and a digest.
//!
//! axum's own `ws` is off: it would add a second WebSocket stack and keep the socket, which here
//! goes to a shard.

use axum::http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use data_encoding::BASE64;

use crate::protocol::V1;
use crate::socket::accept_key;

/// A valid handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    accept: String,
    pub(super) offer: Offer,
}

/// The subprotocols that the client offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offer {
    /// None: the plain protocol.
    Plain,
    /// v1, alone or among others.
    V1,
    /// Only others, of which this is the first. The response selects it nevertheless: a browser
    /// fails a connection that selects none of its offers, and would never see the close code.
    Unknown(HeaderValue),
}

/// Why a request is not a handshake.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    /// An ordinary request, such as a typed address or a health check.
    #[error("this address is for WebSockets; connect with Upgrade: websocket")]
    NotAnUpgrade,
    #[error("a WebSocket is opened with GET over HTTP/1.1")]
    Method,
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
    /// Programs differ in which of several lines they use.
    #[error("{0} appears more than once")]
    Repeated(HeaderName),
    #[error("Sec-WebSocket-Protocol must name protocols, separated by commas")]
    Subprotocol,
}

impl Handshake {
    /// Checks a request against the RFC.
    pub(super) fn check<B>(request: &Request<B>) -> Result<Self, HandshakeError> {
        let headers = request.headers();
        if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade")
        {
            return Err(HandshakeError::NotAnUpgrade);
        }
        if request.method() != Method::GET || request.version() != Version::HTTP_11 {
            return Err(HandshakeError::Method);
        }
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(HandshakeError::Version);
        }
        for name in [HOST, AUTHORIZATION] {
            if headers.get_all(&name).iter().nth(1).is_some() {
                return Err(HandshakeError::Repeated(name));
            }
        }
        let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let key = key.filter(|key| BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16));
        let accept = accept_key(key.ok_or(HandshakeError::Key)?);
        Ok(Self { accept, offer: Offer::of(headers)? })
    }

    /// The 101 that selects the client's offer.
    pub(super) fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        let accept = HeaderValue::from_str(&self.accept).expect("base64 is a legal header value");
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        let taken = match &self.offer {
            Offer::Plain => None,
            Offer::V1 => Some(HeaderValue::from_static(V1)),
            Offer::Unknown(first) => Some(first.clone()),
        };
        headers.extend(taken.map(|protocol| (SEC_WEBSOCKET_PROTOCOL, protocol)));
        response
    }
}

impl Offer {
    fn of(headers: &HeaderMap) -> Result<Self, HandshakeError> {
        if has_token(headers, &SEC_WEBSOCKET_PROTOCOL, V1) {
            return Ok(Self::V1);
        }
        let Some(offers) = headers.get(SEC_WEBSOCKET_PROTOCOL) else { return Ok(Self::Plain) };
        let offers = offers.to_str().map_err(|_| HandshakeError::Subprotocol)?;
        let first = offers.split(',').next().unwrap_or_default().trim();
        match HeaderValue::from_str(first) {
            Ok(value) if !first.is_empty() => Ok(Self::Unknown(value)),
            _ => Err(HandshakeError::Subprotocol),
        }
    }
}

/// Whether a comma-separated header, however often it is given, names `wanted`.
///
/// Values of Upgrade and Connection are case-insensitive (RFC 9110, sections 7.6 and 7.8); our
/// subprotocol has no capitals, so one comparison suffices.
fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    fn request(edit: impl FnOnce(&mut Request<()>)) -> Result<Handshake, HandshakeError> {
        let mut request = Request::builder()
            .uri("/ws")
            .header("upgrade", "websocket")
            .header("connection", "keep-alive, Upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        edit(&mut request);
        Handshake::check(&request)
    }

    #[test]
    fn refuses_a_repeated_host_or_authorization() {
        for name in [HOST, AUTHORIZATION] {
            let repeated = request(|request| {
                request.headers_mut().append(&name, HeaderValue::from_static("a"));
                request.headers_mut().append(&name, HeaderValue::from_static("b"));
            });
            assert_eq!(repeated.unwrap_err(), HandshakeError::Repeated(name));
        }
    }

    fn set(request: &mut Request<()>, name: &'static str, value: &'static str) {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }

    #[test]
    fn answers_the_example_of_the_rfc_as_the_rfc_does() {
        let response: Response<()> = request(|_| ()).unwrap().response();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn selects_v1_among_other_offers() {
        let offer = "x, groupcast.v1.json";
        let handshake = request(|r| set(r, "sec-websocket-protocol", offer)).unwrap();
        assert_eq!(handshake.offer, Offer::V1);
        let response: Response<()> = handshake.response();
        assert_eq!(response.headers()["sec-websocket-protocol"], "groupcast.v1.json");
    }

    #[test]
    fn selects_an_unknown_offer_in_order_to_close_with_a_code() {
        let handshake = request(|r| set(r, "sec-websocket-protocol", "chat, x")).unwrap();
        assert_eq!(handshake.offer, Offer::Unknown(HeaderValue::from_static("chat")));
        let response: Response<()> = handshake.response();
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    }

    #[test]
    fn requires_the_headers_of_the_rfc() {
        let error = |edit: fn(&mut Request<()>)| request(edit).unwrap_err();
        assert_eq!(error(|r| set(r, "upgrade", "h2c")), HandshakeError::NotAnUpgrade);
        assert_eq!(error(|r| set(r, "connection", "close")), HandshakeError::NotAnUpgrade);
        assert_eq!(error(|r| *r.method_mut() = Method::POST), HandshakeError::Method);
        assert_eq!(error(|r| *r.version_mut() = Version::HTTP_10), HandshakeError::Method);
        assert_eq!(error(|r| set(r, "sec-websocket-version", "8")), HandshakeError::Version);
        assert_eq!(error(|r| set(r, "sec-websocket-key", "c2hvcnQ=")), HandshakeError::Key);
        assert_eq!(error(|r| set(r, "sec-websocket-protocol", ",")), HandshakeError::Subprotocol);
    }
}
