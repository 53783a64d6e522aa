//! Repeating a request with a key is harmless, whatever became of the first one.

use super::*;

fn keyed(n: u32, key: &str) -> PublishRequest {
    let key = DedupeKey::new(Scope::User("7"), key).expect("a legal key");
    PublishRequest { key: Some(key), ..aviso(n) }
}

#[tokio::test]
async fn answers_a_repeated_key_with_the_first_receipt_and_publishes_nothing() {
    let (publisher, mut inbox) = open(patient()).await;
    let first = publisher.publish(to("a"), keyed(1, "k")).await.expect("taken");
    let again = publisher.publish(to("a"), keyed(1, "k")).await.expect("taken before");
    assert_eq!(again, Receipt { repeated: true, ..first });
    assert_eq!(received(&mut inbox).len(), 1);
}

#[tokio::test]
async fn a_key_identifies_event_exclusions_and_expiry_together() {
    let (publisher, mut inbox) = open(patient()).await;
    publisher.publish(to("a"), keyed(1, "k")).await.expect("taken");
    let except = Except { users: vec!["8".into()], ..Except::default() };
    let others = [
        keyed(2, "k"),
        PublishRequest { expiry: Some(LONG), ..keyed(1, "k") },
        PublishRequest { except, ..keyed(1, "k") },
    ];
    for draft in others {
        let refused = publisher.publish(to("a"), draft).await;
        assert_eq!(refused, Err(PublishError::KeyReused(Duration::from_secs(120))));
    }
    assert_eq!(received(&mut inbox).len(), 1);
}

#[tokio::test]
async fn each_target_has_a_key_to_itself() {
    let (publisher, mut inbox) = open(patient()).await;
    for (n, target) in [to("a"), to("b"), Target::User("a".into()), Target::All].iter().enumerate()
    {
        let accepted = publisher.publish(target.clone(), keyed(n as u32, "k")).await;
        assert!(!accepted.expect("taken").repeated, "{target:?}");
    }
    assert_eq!(received(&mut inbox).len(), 4);
}

#[tokio::test]
async fn refuses_further_keys_of_a_full_scope_and_forgets_none() {
    let (publisher, mut inbox) =
        open(Settings { user_keys: 2, idempotency_keys: 3, ..patient() }).await;
    let of_api = |n: u32| {
        let key = DedupeKey::new(Scope::ApiKey("tienda"), &n.to_string()).expect("a legal key");
        PublishRequest { key: Some(key), ..aviso(n) }
    };
    let window = Duration::from_secs(120);
    for n in 0..4 {
        let answer = publisher.publish(to("a"), keyed(n, &n.to_string())).await;
        let full = PublishError::TooManyKeys { most: 2, window };
        assert_eq!(answer.err(), (n >= 2).then_some(full), "key {n} of a user");
    }
    for n in 0..4 {
        let answer = publisher.publish(to("a"), of_api(n)).await;
        let full = PublishError::TooManyKeys { most: 3, window };
        assert_eq!(answer.err(), (n >= 3).then_some(full), "key {n} of an API key");
    }
    for n in 0..2 {
        let again = publisher.publish(to("a"), keyed(n, &n.to_string())).await;
        assert!(again.expect("taken before").repeated, "key {n} is not forgotten");
    }
    let other = DedupeKey::new(Scope::User("8"), "0").expect("a legal key");
    let of_other = PublishRequest { key: Some(other), ..aviso(0) };
    assert!(!publisher.publish(to("a"), of_other).await.expect("taken").repeated);
    assert_eq!(received(&mut inbox).len(), 6);
}

#[tokio::test]
async fn a_full_scope_refuses_its_own_requests_of_a_batch_alone() {
    let (publisher, mut inbox) = open(Settings { user_keys: 1, ..patient() }).await;
    let batch = [
        (vec![to("a")], keyed(1, "k1")),
        (vec![to("a")], keyed(2, "k2")),
        (vec![to("a")], aviso(3)),
    ];
    let answers = publisher.publish_batch(&batch).await;
    assert!(answers[0][0].is_ok() && answers[2][0].is_ok());
    assert!(matches!(answers[1][0], Err(PublishError::TooManyKeys { most: 1, .. })));
    assert_eq!(received(&mut inbox).len(), 2);
}

#[tokio::test]
async fn keeps_equal_keys_of_two_scopes_apart() {
    let (publisher, mut inbox) = open(patient()).await;
    let keys = [
        DedupeKey::new(Scope::User("tienda"), "k"),
        DedupeKey::new(Scope::ApiKey("tienda"), "k"),
        DedupeKey::new(Scope::ApiKey("tiend"), "ak"),
        DedupeKey::new(Scope::ApiKey("tienda"), "k").map(|key| key.of_part(0)),
        DedupeKey::new(Scope::ApiKey("tienda"), "k").map(|key| key.of_part(1)),
    ];
    for (n, key) in keys.into_iter().enumerate() {
        let draft = PublishRequest { key: Some(key.expect("a legal key")), ..aviso(n as u32) };
        let accepted = publisher.publish(to("a"), draft).await.expect("taken");
        assert!(!accepted.repeated, "key {n}");
    }
    assert_eq!(received(&mut inbox).len(), 5);
}

#[test]
fn a_key_has_1_to_255_bytes() {
    assert!(DedupeKey::new(Scope::User("7"), &"k".repeat(255)).is_ok());
    for wrong in ["", &"k".repeat(256)] {
        let error = DedupeKey::new(Scope::User("7"), wrong).expect_err("no key");
        let text = format!("idempotency key has {} bytes; 1 to 255 are allowed", wrong.len());
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn concurrent_requests_with_one_key_publish_once() {
    let (publisher, mut inbox) = open(patient()).await;
    fill(&publisher, "a");
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let publisher = Arc::clone(&publisher);
        waiting.spawn(async move { publisher.publish(to("a"), keyed(1, "k")).await });
    }
    // All have asked before there is room: the runtime has one thread and runs them in turn.
    tokio::task::yield_now().await;
    assert_eq!(received(&mut inbox), []);
    let answers = waiting.join_all().await;
    let ids: std::collections::HashSet<_> =
        answers.iter().map(|answer| answer.as_ref().expect("taken").id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().flatten().filter(|accepted| !accepted.repeated).count(), 1);
    assert_eq!(received(&mut inbox).len(), 1);
    let other = publisher.publish(to("a"), keyed(2, "k")).await;
    assert!(matches!(other, Err(PublishError::KeyReused(_))));
}

#[tokio::test]
async fn a_failed_publication_forgets_its_key() {
    let (publisher, mut inbox) = open(hasty()).await;
    fill(&publisher, "a");
    assert!(matches!(publisher.publish(to("a"), keyed(1, "k")).await, Err(PublishError::Busy(_))));
    received(&mut inbox);
    let other = publisher.publish(to("a"), keyed(2, "k")).await.expect("the key is free");
    assert!(!other.repeated);
}

#[tokio::test]
async fn a_cancelled_publication_forgets_its_key_and_lets_the_next_one_try() {
    let (publisher, mut inbox) = open(patient()).await;
    fill(&publisher, "a");
    let mut second = pin!(publisher.publish(to("a"), keyed(1, "k")));
    {
        let mut first = pin!(publisher.publish(to("a"), keyed(1, "k")));
        assert!(poll_once(first.as_mut()).is_pending(), "there is no room");
        assert!(poll_once(second.as_mut()).is_pending(), "there is no room");
    }
    received(&mut inbox);
    assert!(!second.await.expect("taken").repeated);
    assert_eq!(received(&mut inbox).len(), 1);
}

#[tokio::test]
async fn a_repeated_batch_sends_only_what_was_not_accepted() {
    let (publisher, mut inbox) = open(hasty()).await;
    fill(&publisher, "b");
    let batch = [(vec![to("a"), to("b")], keyed(1, "k"))];
    let first = publisher.publish_batch(&batch).await;
    assert!(first[0][0].is_ok() && first[0][1].is_err(), "room for one");
    assert_eq!(received(&mut inbox).len(), 1);

    let again = publisher.publish_batch(&batch).await;
    let repeated = |i: usize| again[0][i].as_ref().expect("taken").repeated;
    assert!(repeated(0) && !repeated(1));
    assert_eq!(received(&mut inbox), [(to("b"), r#"{"type":"aviso","n":1}"#.to_owned())]);
    assert!(publisher.publish_batch(&batch).await[0].iter().flatten().all(|done| done.repeated));
    assert_eq!(received(&mut inbox), []);
}

#[tokio::test]
async fn a_batch_may_name_a_key_twice() {
    let (publisher, mut inbox) = open(patient()).await;
    let batch = [
        (vec![to("a")], keyed(1, "k")),
        (vec![to("b")], aviso(2)),
        (vec![to("a")], keyed(1, "k")),
        (vec![to("a")], keyed(3, "k")),
        (vec![to("a")], aviso(4)),
    ];
    let answers = publisher.publish_batch(&batch).await;
    let accepted = |i: usize| answers[i][0].clone().expect("taken");
    assert_eq!(accepted(2), Receipt { repeated: true, ..accepted(0) });
    assert!(matches!(answers[3][0], Err(PublishError::KeyReused(_))));
    assert!(!accepted(0).repeated && !accepted(1).repeated && !accepted(4).repeated);
    let arrived = received(&mut inbox);
    let of = |name: &str| -> Vec<_> {
        arrived.iter().filter(|(target, _)| *target == to(name)).map(|(_, json)| &**json).collect()
    };
    let sent = [r#"{"type":"aviso","n":1}"#, r#"{"type":"aviso","n":4}"#];
    assert_eq!((of("a"), of("b")), (sent.to_vec(), vec![r#"{"type":"aviso","n":2}"#]));
}

#[tokio::test]
async fn batches_with_the_same_keys_in_another_order_do_not_wait_for_each_other() {
    let (publisher, mut inbox) = open(patient()).await;
    fill(&publisher, "a");
    let batch = |keys: &[&str]| -> Vec<_> {
        keys.iter().map(|key| (vec![to("a")], keyed(1, key))).collect()
    };
    let mut waiting = tokio::task::JoinSet::new();
    // The first keeps both others waiting in their middle.
    for keys in [&["k2"][..], &["k1", "k2", "k3"], &["k3", "k2", "k1"]] {
        let (publisher, batch) = (Arc::clone(&publisher), batch(keys));
        waiting.spawn(async move { publisher.publish_batch(&batch).await });
        tokio::task::yield_now().await;
    }
    received(&mut inbox);
    let answers = waiting.join_all().await;
    let all = answers.iter().flatten().flatten().map(|answer| answer.as_ref().expect("taken"));
    assert_eq!(all.filter(|accepted| !accepted.repeated).count(), 3);
    assert_eq!(received(&mut inbox).len(), 3);
}

#[tokio::test]
async fn a_cancelled_batch_remembers_what_of_it_was_sent() {
    let (publisher, mut inbox) = open(patient()).await;
    fill(&publisher, "b");
    let batch = [(vec![to("a")], keyed(1, "k1")), (vec![to("a"), to("b")], keyed(2, "k2"))];
    {
        let mut first = pin!(publisher.publish_batch(&batch));
        assert!(poll_once(first.as_mut()).is_pending(), "there is no room for the last");
    }
    assert_eq!(received(&mut inbox).len(), 2);
    let again = publisher.publish_batch(&batch).await;
    let again: Vec<_> = again.into_iter().flatten().collect();
    let repeated: Vec<_> = again.iter().map(|it| it.as_ref().expect("taken").repeated).collect();
    assert_eq!(repeated, [true, true, false]);
    assert_eq!(received(&mut inbox).len(), 1);
}
