//! The publisher over a real memory layer whose inbox the tests read.

mod once;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::event::{ConnectionId, Event, Except, Publication, Target};
use crate::group::GroupName;
use crate::layer::{Broker, Control, Inbox, Incoming, Layer, Member};

/// Far longer than any of these tests takes, so that only a hang reaches it.
const LONG: Duration = Duration::from_secs(30);

fn group(name: &str) -> GroupName {
    GroupName::parse(name).expect("a legal name")
}

fn event(json: &str) -> Event {
    Event::parse(Bytes::copy_from_slice(json.as_bytes())).expect("a legal event")
}

fn aviso(n: u32) -> PublishRequest {
    PublishRequest::new(event(&format!(r#"{{"type":"aviso","n":{n}}}"#)))
}

/// A publisher with `settings`, and the inbox of the one instance, which holds the groups a, b and
/// c.
async fn open(settings: Settings) -> (Arc<Publisher>, Inbox) {
    let (memory, inbox) = Arc::new(Broker::default()).attach();
    let layer = Layer::Memory(memory);
    layer.subscribe(&[group("a"), group("b"), group("c")]).await.expect("memory is reachable");
    (Arc::new(Publisher::new(settings, layer)), inbox)
}

fn patient() -> Settings {
    Settings { publish_timeout: LONG, ..Settings::default() }
}

fn hasty() -> Settings {
    Settings { publish_timeout: Duration::from_millis(20), ..Settings::default() }
}

fn to(name: &str) -> Target {
    Target::Group(group(name))
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Leaves no room for more to this group.
fn fill(publisher: &Publisher, name: &str) {
    loop {
        let filling = PublishRequest::new(event(r#"{"type":"relleno"}"#));
        let mut next = pin!(publisher.publish(to(name), filling));
        match poll_once(next.as_mut()) {
            Poll::Ready(taken) => drop(taken.expect("taken")),
            Poll::Pending => return,
        }
    }
}

/// Everything else in the inbox, as group and JSON, without waiting.
fn received(inbox: &mut Inbox) -> Vec<(Target, String)> {
    let text = |p: &Publication| String::from_utf8(p.event.json().to_vec()).expect("UTF-8");
    std::iter::from_fn(|| inbox.try_recv())
        .filter_map(|incoming| match incoming {
            Incoming::Publication(p) if text(&p).contains("relleno") => None,
            Incoming::Publication(p) => Some((p.target.clone(), text(&p))),
            _ => {
                panic!("only publications were sent")
            }
        })
        .collect()
}

#[tokio::test]
async fn publishes_with_the_exclusions_and_expiry_of_the_request() {
    let (publisher, mut inbox) = open(patient()).await;
    let before = Instant::now();
    let except = Except { users: vec!["7".into()], ..Except::default() };
    let draft = PublishRequest {
        except: except.clone(),
        expiry: Some(Duration::from_secs(5)),
        ..PublishRequest::new(event(
            "{ \"type\" : \"aviso\", \"n\":123456789012345678901234567890 }",
        ))
    };
    let accepted = publisher.publish(to("a"), draft).await.expect("taken");
    let Some(Incoming::Publication(publication)) = inbox.recv().await else {
        panic!("a publication");
    };
    assert_eq!(publication.id, accepted.id);
    assert_eq!(accepted.position, None, "the memory layer keeps no history");
    assert!(!accepted.repeated);
    assert_eq!(
        publication.event.json(),
        &b"{ \"type\" : \"aviso\", \"n\":123456789012345678901234567890 }"[..]
    );
    assert_eq!(publication.except, except);
    assert!(publication.accepted >= before);
    assert_eq!(publication.deadline, Some(publication.accepted + Duration::from_secs(5)));
}

#[tokio::test]
async fn gives_every_publication_a_distinct_id() {
    let (one, _inbox) = open(patient()).await;
    let (other, _other_inbox) = open(patient()).await;
    let mut ids = std::collections::HashSet::new();
    for publisher in [one, other] {
        for n in 0..100 {
            ids.insert(publisher.publish(to("a"), aviso(n)).await.expect("taken").id);
        }
    }
    assert_eq!(ids.len(), 200);
}

#[tokio::test]
async fn refuses_an_event_over_the_limit_and_accepts_one_at_the_limit() {
    let json = r#"{"type":"aviso"}"#;
    for (most, fits) in [(json.len(), true), (json.len() - 1, false)] {
        let (publisher, mut inbox) = open(Settings { max_event_bytes: most, ..patient() }).await;
        let answer = publisher.publish(to("a"), PublishRequest::new(event(json))).await;
        assert_eq!(answer.is_ok(), fits, "bound {most}");
        assert_eq!(received(&mut inbox).len(), usize::from(fits));
        if let Err(error) = answer {
            assert_eq!(error.to_string(), "event has 16 bytes; at most 15 are allowed");
        }
    }
}

#[tokio::test]
async fn waits_for_room_no_longer_than_the_publish_timeout() {
    let (publisher, mut inbox) = open(hasty()).await;
    fill(&publisher, "a");
    publisher.publish(to("b"), aviso(0)).await.expect("another group has room");
    let refused = publisher.publish(to("a"), aviso(1)).await;
    assert_eq!(refused, Err(PublishError::Busy(Duration::from_millis(20))));
    assert_eq!(received(&mut inbox).len(), 1, "what was refused was not sent");
    publisher.publish(to("a"), aviso(2)).await.expect("there is room again");
    assert_eq!(received(&mut inbox), [(to("a"), r#"{"type":"aviso","n":2}"#.to_owned())]);
}

#[tokio::test]
async fn a_batch_keeps_its_order() {
    let (publisher, mut inbox) = open(patient()).await;
    let batch = [(vec![to("a"), to("b")], aviso(1)), (vec![to("b")], aviso(2))];
    let answers = publisher.publish_batch(&batch).await;
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert!(answers.iter().flatten().all(Result::is_ok));
    let one = r#"{"type":"aviso","n":1}"#.to_owned();
    let two = r#"{"type":"aviso","n":2}"#.to_owned();
    assert_eq!(received(&mut inbox), [(to("a"), one.clone()), (to("b"), one), (to("b"), two)]);
}

#[tokio::test]
async fn a_permanent_error_affects_one_item_of_a_batch_and_a_transient_one_ends_it() {
    let (publisher, mut inbox) = open(Settings { max_event_bytes: 40, ..hasty() }).await;
    let long = PublishRequest::new(event(&format!(r#"{{"type":"{}"}}"#, "x".repeat(40))));
    let batch = [(vec![to("a")], long.clone()), (vec![to("a")], aviso(1))];
    let answers = publisher.publish_batch(&batch).await;
    assert!(matches!(answers[0][..], [Err(PublishError::TooLarge { bytes: 51, most: 40 })]));
    assert!(answers[1][0].is_ok());
    received(&mut inbox);

    fill(&publisher, "b");
    let batch = [
        (vec![to("a"), to("b")], aviso(1)),
        (vec![to("a")], long),
        (vec![to("a"), to("b")], aviso(2)),
    ];
    let answers = publisher.publish_batch(&batch).await;
    let busy = Err(PublishError::Busy(Duration::from_millis(20)));
    assert!(answers[0][0].is_ok());
    assert_eq!(answers[0][1], busy);
    assert!(matches!(answers[1][..], [Err(PublishError::TooLarge { .. })]));
    assert_eq!(answers[2], [busy.clone(), busy]);
    assert_eq!(received(&mut inbox).len(), 1);
}

#[tokio::test]
async fn sends_changes_to_every_instance_and_refuses_them_without_room() {
    let (publisher, mut inbox) = open(hasty()).await;
    let id: ConnectionId = "k3f5a2bq-17".parse().expect("a legal id");
    let join = Control::Join(Member::Connection(id), group("a"));
    publisher.change(join.clone()).await.expect("taken");
    assert!(matches!(inbox.recv().await, Some(Incoming::Control(control, _)) if control == join));
    while publisher.change(join.clone()).await.is_ok() {}
    assert!(matches!(publisher.change(join).await, Err(PublishError::Busy(_))));
    publisher.publish(to("a"), aviso(1)).await.expect("groups have room");
}
