//! Publications under keys, on every layer.

use std::collections::{HashMap, VecDeque};

use super::suite::on_both;
use super::*;

on_both! {
    sends_once_under_a_key_from_any_instance;
    refuses_another_content_under_a_key_on_any_instance;
    each_target_and_scope_has_a_key_to_itself;
    a_full_scope_refuses_further_keys_and_keeps_its_own;
    a_forgetful_scope_drops_its_oldest_keys_for_new_ones;
    forgets_keys_after_their_window;
    concurrent_instances_send_once_under_a_key;
    keeps_the_order_of_keyed_and_plain_publications;
    keeps_the_order_of_many_keyed_publications;
}

const WINDOW: Duration = Duration::from_secs(60);

fn key(scope: &str, key: &str, content: &str) -> OnceKey {
    let digest = |text: &str| Digest::of(&[text.as_bytes()]);
    OnceKey {
        scope: scope.into(),
        capacity: 5,
        when_full: WhenFull::Refuse,
        key: digest(key),
        content: digest(content),
    }
}

fn keyed(target: Target, text: &str, name: &str) -> KeyedPublication {
    KeyedPublication { publication: to(target, text), key: Some(key("api:tienda", name, text)) }
}

impl Instance {
    async fn once(&self, keyed: KeyedPublication) -> OnceOutcome {
        self.once_within(keyed, WINDOW).await
    }

    async fn once_within(&self, keyed: KeyedPublication, window: Duration) -> OnceOutcome {
        let mut outcomes = Vec::new();
        let done = |outcome| outcomes.push(outcome);
        self.layer.publish_once(vec![keyed], window, done).await.unwrap();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }
}

fn sala() -> Target {
    Target::Group(group("sala_1"))
}

fn pedido() -> Target {
    Target::Group(group("pedido.42"))
}

async fn sends_once_under_a_key_from_any_instance(kind: LayerKind) {
    let (one, mut two) = (kind.instance().await, kind.instance().await);
    two.subscribe(&["sala_1", "pedido.42"]).await;
    for (target, offset) in [(sala(), None), (pedido(), Some(1)), (Target::User("7".into()), None)]
    {
        let publication = keyed(target.clone(), "a", "k");
        let first = publication.publication.id;
        let OnceOutcome::Sent { id, position } = one.once(publication).await else {
            panic!("it is new")
        };
        assert_eq!((id, position.as_ref().map(|at| at.offset)), (first, offset));
        for instance in [&one, &two] {
            let again = instance.once(keyed(target.clone(), "a", "k")).await;
            assert_eq!(again, OnceOutcome::Earlier { id, position: position.clone() });
        }
        let arrived = two.next_publication().await;
        assert_eq!((arrived.id, &arrived.position), (id, &position));
    }
    two.has_nothing().await;
}

async fn refuses_another_content_under_a_key_on_any_instance(kind: LayerKind) {
    let (one, mut two) = (kind.instance().await, kind.instance().await);
    two.subscribe(&["sala_1"]).await;
    one.once(keyed(sala(), "a", "k")).await;
    for instance in [&one, &two] {
        assert_eq!(instance.once(keyed(sala(), "b", "k")).await, OnceOutcome::OtherContent);
    }
    assert_eq!(two.next_text().await, event_text("a"));
    two.has_nothing().await;
}

async fn each_target_and_scope_has_a_key_to_itself(kind: LayerKind) {
    let one = kind.instance().await;
    let own = ConnectionId { instance: one.id, serial: 7 };
    let targets =
        [sala(), pedido(), Target::User("sala_1".into()), Target::Connection(own), Target::All];
    for target in targets {
        for scope in ["api:tienda", "user:tienda", "user:tienda:7", "user:"] {
            let key = Some(key(scope, "k", scope));
            let publication = to(target.clone(), "a");
            let outcome = one.once(KeyedPublication { publication, key }).await;
            assert!(matches!(outcome, OnceOutcome::Sent { .. }), "{scope} {target:?}");
        }
    }
}

async fn a_full_scope_refuses_further_keys_and_keeps_its_own(kind: LayerKind) {
    let (one, two) = (kind.instance().await, kind.instance().await);
    for n in 0..8 {
        let outcome = one.once(keyed(sala(), "a", &n.to_string())).await;
        let is_full = outcome == OnceOutcome::ScopeFull;
        assert_eq!(is_full, n >= 5, "key {n}");
    }
    for n in 0..5 {
        let outcome = two.once(keyed(sala(), "a", &n.to_string())).await;
        assert!(matches!(outcome, OnceOutcome::Earlier { .. }), "key {n}");
    }
    let other =
        KeyedPublication { publication: to(sala(), "a"), key: Some(key("user:7", "k", "a")) };
    assert!(matches!(two.once(other).await, OnceOutcome::Sent { .. }));
}

async fn a_forgetful_scope_drops_its_oldest_keys_for_new_ones(kind: LayerKind) {
    let (one, two) = (kind.instance().await, kind.instance().await);
    let forgetful = |n: u32| {
        let mut keyed = keyed(sala(), "a", &n.to_string());
        keyed.key.as_mut().unwrap().when_full = WhenFull::ForgetOldest;
        keyed
    };
    for n in 0..20 {
        let outcome = one.once(forgetful(n)).await;
        assert!(matches!(outcome, OnceOutcome::Sent { .. }), "key {n}: {outcome:?}");
    }
    for n in 15..20 {
        let outcome = two.once(forgetful(n)).await;
        assert!(matches!(outcome, OnceOutcome::Earlier { .. }), "key {n}: {outcome:?}");
    }
    let outcome = two.once(forgetful(0)).await;
    assert!(matches!(outcome, OnceOutcome::Sent { .. }), "the oldest is forgotten: {outcome:?}");
}

async fn forgets_keys_after_their_window(kind: LayerKind) {
    let one = kind.instance().await;
    let window = Duration::from_millis(300);
    for n in 0..5 {
        one.once_within(keyed(sala(), "a", &n.to_string()), window).await;
    }
    // A full scope has room again, and a key may have another content.
    let deadline = Instant::now() + LONG;
    for name in ["new", "1", "2", "3", "4"] {
        loop {
            match one.once(keyed(sala(), "b", name)).await {
                OnceOutcome::Sent { .. } => break,
                OnceOutcome::ScopeFull | OnceOutcome::OtherContent => {}
                other => panic!("key {name}: {other:?}"),
            }
            assert!(Instant::now() < deadline, "300 ms pass");
        }
    }
    let outcome = one.once(keyed(sala(), "b", "0")).await;
    assert_eq!(outcome, OnceOutcome::ScopeFull, "the new keys count");
}

async fn concurrent_instances_send_once_under_a_key(kind: LayerKind) {
    let (one, two) = (kind.instance().await, kind.instance().await);
    let mut three = kind.instance().await;
    three.subscribe(&["pedido.42"]).await;
    for n in 0..50 {
        let once = |instance: &Instance| {
            let (layer, keyed) = (instance.layer.clone(), keyed(pedido(), "a", "k"));
            let keyed =
                KeyedPublication { key: Some(key(&format!("user:{n}"), "k", "a")), ..keyed };
            async move {
                let mut outcomes = Vec::new();
                let done = |outcome| outcomes.push(outcome);
                layer.publish_once(vec![keyed], WINDOW, done).await.unwrap();
                match outcomes.remove(0) {
                    OnceOutcome::Sent { id, position } => (true, id, position),
                    OnceOutcome::Earlier { id, position } => (false, id, position),
                    other => panic!("{other:?}"),
                }
            }
        };
        let answers = tokio::join!(once(&one), once(&two), once(&one));
        let answers = [answers.0, answers.1, answers.2];
        assert_eq!(answers.iter().filter(|(sent, ..)| *sent).count(), 1, "{answers:?}");
        let arrived = three.next_publication().await;
        assert_eq!(arrived.position.as_ref().unwrap().offset, n + 1);
        for (_, id, position) in &answers {
            assert_eq!((*id, position), (arrived.id, &arrived.position));
        }
    }
}

async fn keeps_the_order_of_keyed_and_plain_publications(kind: LayerKind) {
    let (one, mut two) = (kind.instance().await, kind.instance().await);
    two.subscribe(&["sala_1", "pedido.42"]).await;
    for n in 0..200 {
        let target = if n % 3 == 0 { pedido() } else { sala() };
        match n % 4 {
            0 => {
                let key = Some(key(&format!("user:{n}"), "k", "a"));
                let publication = to(target, &n.to_string());
                one.once(KeyedPublication { publication, key }).await;
            }
            1 => {
                let both = vec![to(target.clone(), &n.to_string()), to(target, &n.to_string())];
                one.layer.publish_many(both, |_| {}).await.unwrap();
            }
            _ => drop(one.layer.publish(to(target, &n.to_string())).await.unwrap()),
        }
    }
    let mut to_arrive: HashMap<_, VecDeque<_>> = HashMap::new();
    for n in 0..200 {
        let target = if n % 3 == 0 { pedido() } else { sala() };
        let times = if n % 4 == 1 { 2 } else { 1 };
        to_arrive.entry(target).or_default().extend(vec![event_text(&n.to_string()); times]);
    }
    // In order for each group; between groups there is none.
    for _ in 0..250 {
        let arrived = two.next_publication().await;
        let next = to_arrive.get_mut(&arrived.target).and_then(VecDeque::pop_front);
        assert_eq!(Some(text_of(&arrived)), next);
    }
    two.has_nothing().await;
}

async fn keeps_the_order_of_many_keyed_publications(kind: LayerKind) {
    let (one, mut two) = (kind.instance().await, kind.instance().await);
    two.subscribe(&["sala_1", "pedido.42"]).await;
    // More than one script carries, with repetitions, a full scope and another content among them.
    let publications: Vec<_> = (0..150)
        .map(|n| {
            let target = if n % 3 == 0 { pedido() } else { sala() };
            let (scope, name, content) = match n % 10 {
                7 => ("user:same".to_owned(), "k".to_owned(), "a"),
                8 => ("user:same".to_owned(), "k".to_owned(), if n < 10 { "a" } else { "b" }),
                9 => ("user:many".to_owned(), n.to_string(), "a"),
                _ => (format!("user:{n}"), "k".to_owned(), "a"),
            };
            let publication = to(target, &n.to_string());
            KeyedPublication { publication, key: Some(key(&scope, &name, content)) }
        })
        .collect();
    let mut outcomes = Vec::new();
    let done = |outcome| outcomes.push(outcome);
    one.layer.publish_once(publications.clone(), WINDOW, done).await.unwrap();
    assert_eq!(outcomes.len(), publications.len());
    let mut counts = [0; 4];
    let mut to_arrive: HashMap<_, VecDeque<_>> = HashMap::new();
    for (keyed, outcome) in publications.iter().zip(outcomes) {
        match outcome {
            OnceOutcome::Sent { id, position } => {
                assert_eq!(id, keyed.publication.id);
                let of_target = to_arrive.entry(&keyed.publication.target).or_default();
                of_target.push_back((id, position));
                counts[0] += 1;
            }
            OnceOutcome::Earlier { .. } => counts[1] += 1,
            OnceOutcome::OtherContent => counts[2] += 1,
            OnceOutcome::ScopeFull => counts[3] += 1,
        }
    }
    for _ in 0..counts[0] {
        let arrived = two.next_publication().await;
        let next = to_arrive.get_mut(&arrived.target).and_then(VecDeque::pop_front);
        assert_eq!(Some((arrived.id, arrived.position.clone())), next);
    }
    // 105 with a scope of their own; of user:same one key for two targets, the first content first;
    // of user:many fifteen keys, five of which fit.
    assert_eq!(counts.iter().sum::<usize>(), 150);
    assert_eq!((counts[3], counts[0] >= 105 + 5), (10, true), "{counts:?}");
    assert!(counts[1] > 0 && counts[2] > 0, "{counts:?}");
    two.has_nothing().await;
}
