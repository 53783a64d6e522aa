use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::text;
use crate::event::{
    ConnectionId, Event, Except, InstanceId, Position, Publication, PublicationId, Target,
};
use crate::group::GroupName;
use crate::protocol::outbound::*;
use crate::protocol::{Code, Refusal};

fn position(epoch: &str, offset: u64) -> Position {
    Position { epoch: Arc::from(epoch), offset }
}

fn group() -> GroupName {
    GroupName::parse("usuario_7").unwrap()
}

fn held(group: &str, position: Option<Position>, recovered: Option<bool>) -> JoinOutcome {
    JoinOutcome { group: group.into(), outcome: Ok(Held { position, recovered }) }
}

fn refused(group: &str) -> JoinOutcome {
    let refusal = Refusal::new(Code::IllegalName, "group name \"a b\" holds ' '");
    JoinOutcome { group: group.into(), outcome: Err(refusal) }
}

#[test]
fn welcome_has_connection_instance_and_groups() {
    let instance = InstanceId::from_random([0; 5]);
    let groups = [held("usuario_7", Some(position("1.1", 120)), Some(true))];
    let full = Welcome {
        connection: ConnectionId { instance, serial: 17 },
        ping_ms: 25_000,
        max_bytes: 16_384,
        frames: (50, 200),
        expires_in: Some(3540),
        retry_ms: 5000,
        groups: &groups,
    };
    assert_eq!(
        text(&welcome(&full)),
        concat!(
            r#"{"type":"welcome","connection":"aaaaaaaa-17","instance":"aaaaaaaa","#,
            r#""ping_ms":25000,"max_bytes":16384,"frames_per_second":50,"#,
            r#""frame_burst":200,"expires_in":3540,"retry_ms":5000,"#,
            r#""groups":[{"group":"usuario_7","epoch":"1.1","offset":120,"recovered":true}]}"#
        )
    );
    let bare = Welcome { expires_in: None, groups: &[], ..full };
    assert!(text(&welcome(&bare)).ends_with(r#""frame_burst":200,"retry_ms":5000,"groups":[]}"#));
}

#[test]
fn joined_and_left_report_each_group_separately() {
    let groups = [
        held("a", None, None),
        held("b", Some(position("2.1", 0)), None),
        held("c", Some(position("2.1", 9)), Some(false)),
        refused("a b"),
    ];
    assert_eq!(
        text(&joined(Some(1), &groups, None)),
        concat!(
            r#"{"type":"joined","id":1,"groups":[{"group":"a"},"#,
            r#"{"group":"b","epoch":"2.1","offset":0},"#,
            r#"{"group":"c","epoch":"2.1","offset":9,"recovered":false},"#,
            r#"{"group":"a b","error":{"code":"illegal_name","#,
            r#""message":"group name \"a b\" holds ' '","retry":false}}]}"#
        )
    );
    assert_eq!(
        text(&left(None, &groups[..1], Some("grant withdrawn"))),
        r#"{"type":"left","groups":[{"group":"a"}],"reason":"grant withdrawn"}"#
    );
}

#[test]
fn an_event_has_its_json_verbatim() {
    let json = r#"{ "type":"imagen_procesada",  "imagen_id":42.0 }"#;
    let mut publication = Publication {
        id: PublicationId(0),
        target: Target::Group(group()),
        event: Event::parse(Bytes::from_static(json.as_bytes())).unwrap(),
        except: Except::default(),
        accepted: Instant::now(),
        deadline: None,
        position: Some(position("1.1", 119)),
    };
    let shown = |group: Option<&GroupName>, publication: &Publication| {
        text(&event(group, publication)).to_owned()
    };
    assert_eq!(
        shown(Some(&group()), &publication),
        format!(r#"{{"type":"event","group":"usuario_7","offset":119,"data":{json}}}"#)
    );
    publication.position = None;
    let id = "AAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(
        shown(Some(&group()), &publication),
        format!(r#"{{"type":"event","group":"usuario_7","id":"{id}","data":{json}}}"#)
    );
    assert_eq!(
        shown(None, &publication),
        format!(r#"{{"type":"event","id":"{id}","data":{json}}}"#)
    );
}

#[test]
fn a_position_frame_has_the_offset_of_the_excluded_event() {
    let frame = notice(Some(&group()), &Notice::Position(position("1.1", 120)));
    assert_eq!(
        text(&frame),
        r#"{"type":"position","group":"usuario_7","epoch":"1.1","offset":120}"#
    );
}

#[test]
fn a_gap_has_only_the_members_that_are_known() {
    let known = Gap {
        reason: GapReason::Slow,
        lost: Some(12),
        range: Some((position("1.1", 120), 131)),
        possible: false,
    };
    for (reported, expected) in [
        (known.clone(), r#""reason":"slow","epoch":"1.1","from":120,"to":131,"lost":12}"#),
        (Gap { lost: None, range: None, ..known.clone() }, r#""reason":"slow"}"#),
        (
            Gap { reason: GapReason::Layer, lost: None, range: None, possible: true },
            r#""reason":"layer","possible":true}"#,
        ),
        (
            Gap {
                reason: GapReason::Layer,
                lost: None,
                range: Some((position("2.1", 1), 0)),
                possible: false,
            },
            r#""reason":"layer","epoch":"2.1"}"#,
        ),
        (
            Gap { reason: GapReason::Expired, range: None, ..known },
            r#""reason":"expired","lost":12}"#,
        ),
    ] {
        let expected = format!(r#"{{"type":"gap","group":"usuario_7",{expected}"#);
        assert_eq!(text(&gap(Some(&group()), &reported)), expected);
    }
    let slow = Gap { reason: GapReason::Slow, lost: Some(2), range: None, possible: false };
    assert_eq!(text(&gap(None, &slow)), r#"{"type":"gap","reason":"slow","lost":2}"#);
}

#[test]
fn answers_repeat_the_id() {
    let data = RawValue::from_string(r#"{"n": 1.0}"#.to_owned()).unwrap();
    assert_eq!(text(&result(4, &data)), r#"{"type":"result","id":4,"data":{"n": 1.0}}"#);
    assert_eq!(
        text(&sent(3, PublicationId(0), None)),
        r#"{"type":"result","id":3,"data":{"id":"AAAAAAAAAAAAAAAAAAAAAA"}}"#
    );
    assert_eq!(
        text(&sent(3, PublicationId(0), Some(&position("1.1", 5)))),
        concat!(
            r#"{"type":"result","id":3,"#,
            r#""data":{"id":"AAAAAAAAAAAAAAAAAAAAAA","epoch":"1.1","offset":5}}"#
        )
    );
    let refusal = Refusal::new(Code::Forbidden, "no grant to send to \"sala_1\"");
    assert_eq!(
        text(&error(Some(4), &refusal)),
        concat!(
            r#"{"type":"error","id":4,"code":"forbidden","#,
            r#""message":"no grant to send to \"sala_1\"","retry":false}"#
        )
    );
    assert_eq!(
        text(&error(None, &Refusal::new(Code::Unavailable, "layer"))),
        r#"{"type":"error","code":"unavailable","message":"layer","retry":true}"#
    );
    assert_eq!(text(&authed(5, 3600)), r#"{"type":"authed","id":5,"expires_in":3600}"#);
}

#[test]
fn constant_frames_share_their_bytes() {
    assert_eq!(text(&ping()), r#"{"type":"ping"}"#);
    assert_eq!(text(&pong()), r#"{"type":"pong"}"#);
    assert_eq!(text(&auth_due()), r#"{"type":"auth_due"}"#);
    assert_eq!(ping().bytes().as_ptr(), ping().bytes().as_ptr());
    assert_eq!(auth_due().bytes().as_ptr(), auth_due().bytes().as_ptr());
}

#[test]
fn refusal_codes_are_distinct() {
    for (i, code) in Code::ALL.iter().enumerate() {
        let word = code.as_str();
        assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
        assert!(Code::ALL[..i].iter().all(|other| other.as_str() != word), "{word} stands twice");
    }
}
