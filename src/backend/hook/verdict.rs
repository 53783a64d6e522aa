//! The verdict in an answer of the connect hook.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::backend::{BackendResponse, advice};
use crate::event::{ConnectionId, Stamp};
use crate::frame::Frame;
use crate::identity::{HookClaims, Identity, Verifier};

/// How long before it expires a verdict is renewed; half its lifetime if that is shorter.
const AHEAD: Duration = Duration::from_secs(60);

/// The code of a 401 that is about the gateway's signature and not about the visitor.
const BAD_SIGNATURE: &str = "bad_signature";

/// The back end's decision about a visitor.
#[derive(Debug, Clone)]
pub enum HookVerdict {
    /// Admitted, with an identity.
    Accepted(Arc<HookAcceptance>),
    /// Not logged in (401).
    Unauthorized,
    /// Not allowed on this path (403).
    Forbidden,
    /// Undecided, for this reason; the client may try again.
    Unknown(Arc<str>),
}

/// An admitted visitor.
#[derive(Debug)]
pub struct HookAcceptance {
    /// Identity with expiry.
    pub identity: Identity,
    /// The first frame of a plain connection.
    pub welcome: Option<Frame>,
    /// When the hook was asked, and when to ask again at the latest; seconds since 1970.
    asked_at: u64,
    ask_at: u64,
    /// As of the moment at which the hook was asked.
    stamp: Stamp,
    /// Approximate size in the cache, bytes.
    pub(super) weight: usize,
}

/// The body of an accepting answer; unknown members are ignored.
#[derive(Deserialize)]
struct HookAnswer {
    sub: Option<Value>,
    groups: Option<Vec<String>>,
    claims: Option<Map<String, Value>>,
    expires_in: Option<u64>,
    session: Option<String>,
    welcome: Option<Box<RawValue>>,
}

#[derive(Deserialize, Default)]
struct ErrorBody {
    code: Option<String>,
}

impl HookAcceptance {
    /// When to ask again for `connection`: up to a tenth of the time earlier, spread over
    /// connections, so that those that reconnected together are not renewed together every time.
    pub fn ask_at(&self, connection: ConnectionId) -> u64 {
        let spread = (self.ask_at - self.asked_at) / 10;
        // Fibonacci hashing: the upper bits of the product are spread evenly for serials in a row.
        let hashed = connection.serial.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        self.ask_at - hashed % (spread + 1)
    }

    /// Commands accepted after the hook was asked are greater.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// When the hook was asked, seconds since 1970.
    pub(super) fn asked_at(&self) -> u64 {
        self.asked_at
    }

    /// How long after asking the verdict may be reused. One second less than until its renewal:
    /// both are whole seconds, and a renewal must not reuse the verdict that it renews.
    pub(super) fn fresh(&self) -> Duration {
        Duration::from_secs((self.ask_at - self.asked_at).saturating_sub(1))
    }
}

/// When the hook was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskedAt {
    /// Seconds since 1970.
    pub(super) unix: u64,
    /// The newest command then.
    pub(super) stamp: Stamp,
}

/// How answers are read.
pub(super) struct VerdictRules<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) recheck: Duration,
    /// Whether a 401 or 403 without a `code` is about the visitor, too.
    pub(super) bare_refusals: bool,
}

/// The verdict in `answer`.
pub(super) fn of(
    answer: &BackendResponse,
    asked: AskedAt,
    rules: &VerdictRules<'_>,
) -> HookVerdict {
    match answer.status {
        StatusCode::OK if answer.json => match accepted(&answer.body, asked, rules) {
            Ok(accepted) => HookVerdict::Accepted(Arc::new(accepted)),
            Err(problem) => {
                HookVerdict::Unknown(format!("invalid answer of the hook: {problem}").into())
            }
        },
        StatusCode::UNAUTHORIZED if is_about_the_visitor(answer, rules) => {
            HookVerdict::Unauthorized
        }
        StatusCode::FORBIDDEN if is_about_the_visitor(answer, rules) => HookVerdict::Forbidden,
        _ => HookVerdict::Unknown(advice::explain(answer).into()),
    }
}

/// Whether the view itself refuses the visitor. A firewall, a login middleware or the CSRF check
/// answer 401 and 403, too: taken for a verdict, they would send every visitor to the login page.
fn is_about_the_visitor(answer: &BackendResponse, rules: &VerdictRules<'_>) -> bool {
    let body: ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
    match body.code.filter(|_| answer.json) {
        Some(code) => code != BAD_SIGNATURE,
        None => rules.bare_refusals && !advice::is_csrf(answer),
    }
}

fn accepted(
    body: &[u8],
    asked: AskedAt,
    rules: &VerdictRules<'_>,
) -> Result<HookAcceptance, String> {
    let AskedAt { unix: at, stamp } = asked;
    let answer: HookAnswer =
        serde_json::from_slice(body).map_err(|error| advice::parse_problem(&error))?;
    let sub = match answer.sub {
        Some(Value::String(sub)) => sub,
        Some(Value::Number(_)) => return Err("sub is a number: expected a string".to_owned()),
        Some(_) | None => return Err("no sub: expected a string".to_owned()),
    };
    let welcome = answer.welcome.filter(|welcome| welcome.get() != "null");
    if welcome.as_ref().is_some_and(|welcome| !welcome.get().starts_with('{')) {
        return Err("welcome is not an object".to_owned());
    }
    let expires_at = answer.expires_in.map(|seconds| at.saturating_add(seconds.max(1)));
    let ask_at = match answer.expires_in {
        Some(seconds) => at.saturating_add(seconds - AHEAD.as_secs().min(seconds / 2)),
        None => at + rules.recheck.as_secs(),
    };
    let identity = rules
        .verifier
        .hook_identity(HookClaims {
            sub: &sub,
            expires_at,
            groups: &answer.groups.unwrap_or_default(),
            claims: &answer.claims.unwrap_or_default(),
            session: answer.session.as_deref(),
        })
        .map_err(|error| error.to_string())?;
    let welcome = welcome.map(|welcome| Frame::text(welcome.get().as_bytes()));
    Ok(HookAcceptance { identity, welcome, asked_at: at, ask_at, stamp, weight: body.len() })
}
