//! Confirmations of identities by the hook: renewed, replaced, ended, or failed.

use super::bench::{Bench, Requested};
use super::fixture::{identity, verifier};
use super::peer::{Got, Peer};
use crate::frame::Frame;
use crate::hub::command::PromptCommand;
use crate::hub::{Confirm, Confirmation, Credential, HookIdentity};
use crate::identity::{HookClaims, Identity};
use crate::protocol::{Disconnect, Encoding};

/// The stored hook request, opaque to the hub.
const WORDS: &[u8] = b"cookie";

/// Seconds from the bench's present, since 1970.
fn after(bench: &Bench, seconds: u64) -> u64 {
    bench.shard.context.clock.unix() + seconds
}

fn vouch(bench: &Bench, seconds: u64) -> HookIdentity {
    let welcome = Some(Frame::text(br#"{"type":"suya"}"#));
    HookIdentity { request: WORDS.into(), ask_at: after(bench, seconds), welcome }
}

/// A welcomed v1 connection about which is to be asked again in ten seconds.
fn connect(bench: &mut Bench) -> Peer {
    let vouch = vouch(bench, 10);
    let mut peer =
        bench.arrive_with("7", Encoding::V1, &["usuario_7"], false, 0, Credential::Hook(vouch));
    bench.grant_all();
    let welcome = peer.expect("welcome");
    assert!(welcome.get("expires_in").is_none(), "the client has nothing to renew");
    peer
}

/// The next request, which is a question about a connection.
fn asked(bench: &mut Bench) -> Confirm {
    match bench.requests.try_recv() {
        Some(Requested::Confirm(confirm)) => confirm,
        other => panic!("{other:?} in place of a question"),
    }
}

fn answer(bench: &mut Bench, confirm: &Confirm, outcome: Confirmation) {
    bench.post(PromptCommand::Confirmed { to: confirm.to, outcome });
    bench.turn();
}

fn identity_with(sub: &str, groups: &[&str]) -> Identity {
    let groups: Vec<_> = groups.iter().map(|&name| name.to_owned()).collect();
    let claims = serde_json::Map::new();
    let hook_claims =
        HookClaims { sub, expires_at: None, groups: &groups, claims: &claims, session: None };
    verifier().hook_identity(hook_claims).unwrap()
}

#[test]
fn requests_a_due_confirmation_once() {
    let mut bench = Bench::new();
    let mut peer = connect(&mut bench);
    bench.pass(9);
    assert!(bench.requests.is_empty(), "not before");
    bench.pass(1);
    let confirm = asked(&mut bench);
    assert_eq!((confirm.to, &*confirm.request), (peer.id, WORDS));
    bench.pass(10);
    assert!(bench.requests.is_empty(), "the answer is awaited");
    let holds = Confirmation::StillValid {
        identity: identity_with("7", &["usuario_7"]),
        ask_at: after(&bench, 5),
    };
    answer(&mut bench, &confirm, holds);
    assert_eq!(peer.drain(), [], "nothing has changed");
    bench.pass(5);
    asked(&mut bench);
}

#[test]
fn a_confirmation_replaces_the_identity() {
    let mut bench = Bench::new();
    let mut peer = connect(&mut bench);
    bench.pass(10);
    let confirm = asked(&mut bench);
    let (identity, ask_at) = (identity_with("7", &["promo"]), after(&bench, 600));
    answer(&mut bench, &confirm, Confirmation::StillValid { identity, ask_at });
    bench.grant_all();
    assert_eq!(peer.expect("joined")["groups"][0]["group"], "promo");
    assert_eq!(peer.drain(), [], "what the configuration grants is kept");
}

#[test]
fn closes_a_connection_on_a_refusal_or_another_user() {
    let mut bench = Bench::new();
    let (mut other, mut refused) = (connect(&mut bench), connect(&mut bench));
    bench.pass(10);
    for _ in 0..2 {
        let confirm = asked(&mut bench);
        let outcome = if confirm.to == other.id {
            Confirmation::StillValid { identity: identity_with("8", &[]), ask_at: after(&bench, 5) }
        } else {
            Confirmation::Ended(Disconnect::UNAUTHORIZED)
        };
        answer(&mut bench, &confirm, outcome);
    }
    assert_eq!(other.next(), Got::Close(Some(4403)));
    assert_eq!(refused.next(), Got::Close(Some(4401)));
}

#[test]
fn repeats_a_failed_confirmation_later() {
    let mut bench = Bench::new();
    let mut peer = connect(&mut bench);
    bench.pass(10);
    let confirm = asked(&mut bench);
    answer(&mut bench, &confirm, Confirmation::Unknown { after: 7 });
    bench.pass(6);
    assert!(bench.requests.is_empty());
    bench.pass(1);
    asked(&mut bench);
    assert_eq!(peer.drain(), [], "the connection stays open");
}

#[test]
fn closes_an_unconfirmed_connection_with_a_code_that_lets_it_reconnect() {
    let mut bench = Bench::new();
    // The fixture's identity expires; the confirmation is not answered.
    let vouch = vouch(&bench, 10);
    let mut peer = bench.arrive_with("7", Encoding::V1, &[], false, 0, Credential::Hook(vouch));
    bench.grant_all();
    peer.expect("welcome");
    let left = identity("7").expires_at - bench.shard.context.clock.unix();
    for _ in 0..left.div_ceil(20) {
        bench.pass(20);
        peer.send_text(r#"{"type":"pong"}"#);
        bench.turn();
    }
    let received = peer.drain();
    assert!(received.contains(&Got::Close(Some(4503))), "{received:?}");
    let due = |got: &Got| matches!(got, Got::Json(frame) if frame["type"] == "auth_due");
    assert!(!received.iter().any(due), "the client cannot renew it");
}

#[test]
fn the_hooks_welcome_takes_precedence_over_the_routes() {
    let mut bench = Bench::new();
    let vouch = vouch(&bench, 600);
    // The second route has its own welcome.
    let mut plain =
        bench.arrive_with("7", Encoding::Plain(0), &[], false, 1, Credential::Hook(vouch));
    bench.grant_all();
    assert_eq!(plain.expect("suya"), serde_json::json!({"type": "suya"}));
    assert_eq!(plain.drain(), []);
}

#[test]
fn ignores_a_confirmation_for_a_connection_that_has_gone() {
    let mut bench = Bench::new();
    let mut peer = connect(&mut bench);
    bench.pass(10);
    let confirm = asked(&mut bench);
    peer.close();
    peer.shut_down();
    bench.turn_until("it has gone", |bench| bench.shard.connections.find(confirm.to).is_none());
    answer(&mut bench, &confirm, Confirmation::Ended(Disconnect::FORBIDDEN));
}
