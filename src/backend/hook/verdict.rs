//! What the hook's answer says of somebody.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::backend::{Answer, advice};
use crate::event::ConnectionId;
use crate::frame::Frame;
use crate::identity::{Identity, Verifier, Vouched};

/// How long before the end of a verdict it is asked for again; half its time if that is shorter.
const AHEAD: Duration = Duration::from_secs(60);

/// The code with which a site says that 401 is about the gateway's signature and not the request.
const BAD_SIGNATURE: &str = "bad_signature";

/// What the back end says of somebody.
#[derive(Debug, Clone)]
pub enum HookVerdict {
    /// Who it is.
    Accepted(Arc<Accepted>),
    /// Nobody it knows (401).
    Unauthorized,
    /// Somebody who may not come in here (403).
    Forbidden,
    /// It cannot say, for this reason: to be tried again.
    Unknown(Arc<str>),
}

/// Somebody whom the back end vouches for.
#[derive(Debug)]
pub struct Accepted {
    /// Who, until when.
    pub identity: Identity,
    /// Sent first to a plain connection.
    pub welcome: Option<Frame>,
    /// When it was asked, and when it is to be asked again at the latest; seconds since 1970.
    asked_at: u64,
    ask_at: u64,
    /// What it takes to keep this, bytes, roughly.
    pub(super) weight: usize,
}

/// The body of an accepting answer; unknown members are ignored.
#[derive(Deserialize)]
struct Told {
    sub: Option<Value>,
    groups: Option<Vec<String>>,
    claims: Option<Map<String, Value>>,
    expires_in: Option<u64>,
    session: Option<String>,
    welcome: Option<Box<RawValue>>,
}

#[derive(Deserialize, Default)]
struct Complaint {
    code: Option<String>,
}

impl Accepted {
    /// When to ask again about `connection`: up to a tenth of the time earlier, each connection at
    /// its own moment, so that those who came back together are not asked about together for ever.
    pub fn ask_at(&self, connection: ConnectionId) -> u64 {
        let spread = (self.ask_at - self.asked_at) / 10;
        // Fibonacci hashing: the upper bits of the product are spread evenly for serials in a row.
        let hashed = connection.serial.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        self.ask_at - hashed % (spread + 1)
    }

    /// Seconds, from the asking on, for which the verdict may be passed on to others. One less than until
    /// it is asked for again: both moments are whole seconds, and who asks again must not be answered
    /// with the verdict in question.
    pub(super) fn fresh(&self) -> Duration {
        Duration::from_secs((self.ask_at - self.asked_at).saturating_sub(1))
    }
}

/// What `answer` says, which was given `at` this second since 1970.
pub(super) fn of(answer: &Answer, at: u64, verifier: &Verifier, recheck: Duration) -> HookVerdict {
    match answer.status {
        StatusCode::OK if answer.json => match accepted(&answer.body, at, verifier, recheck) {
            Ok(accepted) => HookVerdict::Accepted(Arc::new(accepted)),
            Err(what) => {
                HookVerdict::Unknown(format!("the hook's answer cannot be used: {what}").into())
            }
        },
        StatusCode::UNAUTHORIZED if !is_about_the_signature(answer) => HookVerdict::Unauthorized,
        StatusCode::FORBIDDEN if !advice::is_csrf(answer) => HookVerdict::Forbidden,
        _ => HookVerdict::Unknown(advice::on(answer).into()),
    }
}

fn is_about_the_signature(answer: &Answer) -> bool {
    let complaint: Complaint = serde_json::from_slice(&answer.body).unwrap_or_default();
    answer.json && complaint.code.as_deref() == Some(BAD_SIGNATURE)
}

fn accepted(
    body: &[u8],
    at: u64,
    verifier: &Verifier,
    recheck: Duration,
) -> Result<Accepted, String> {
    let told: Told = serde_json::from_slice(body).map_err(|error| advice::fault(&error))?;
    let sub = match told.sub {
        Some(Value::String(sub)) => sub,
        Some(Value::Number(_)) => return Err("sub is a number; it must be text".to_owned()),
        Some(_) | None => return Err("it has no sub, which must be text".to_owned()),
    };
    let welcome = told.welcome.filter(|welcome| welcome.get() != "null");
    if welcome.as_ref().is_some_and(|welcome| !welcome.get().starts_with('{')) {
        return Err("welcome is no object".to_owned());
    }
    let expires_at = told.expires_in.map(|seconds| at.saturating_add(seconds.max(1)));
    let ask_at = match told.expires_in {
        Some(seconds) => at.saturating_add(seconds - AHEAD.as_secs().min(seconds / 2)),
        None => at + recheck.as_secs(),
    };
    let identity = verifier
        .vouched(Vouched {
            sub: &sub,
            expires_at,
            groups: &told.groups.unwrap_or_default(),
            claims: &told.claims.unwrap_or_default(),
            session: told.session.as_deref(),
        })
        .map_err(|refusal| refusal.to_string())?;
    let welcome = welcome.map(|welcome| Frame::text(welcome.get().as_bytes()));
    Ok(Accepted { identity, welcome, asked_at: at, ask_at, weight: body.len() })
}
