//! An instance that is behind makes publishers on the others be refused in time.

use super::*;

/// Publishes until the answer is as wanted.
async fn publish_until(
    layer: &Layer,
    target: &Target,
    wanted: impl Fn(&Result<Option<Position>, LayerError>) -> bool,
) {
    let deadline = Instant::now() + LONG;
    loop {
        let answer = layer.publish(to(target.clone(), "mas")).await;
        if wanted(&answer) {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn refuses_what_would_be_late_on_another_instance_and_nothing_else() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    let (slow, layer, mut inbox) = start(&server, |_| {});
    let delivering = async {
        until("both know each other", || {
            layer.health().delivering && one.layer.health().peers == 1
        })
        .await;
    };
    delivering.await;
    layer.subscribe(&[group("llena"), group("quieta")]).await.unwrap();
    // It takes nothing.
    for _ in 0..100 {
        // On a slow machine it is behind before all are sent.
        let _ = one.layer.publish(to(Target::Group(group("llena")), "uno")).await;
    }
    let is_behind = |answer: &Result<_, _>| matches!(answer, Err(LayerError::Behind(_)));
    let flooded = Target::Group(group("llena"));
    publish_until(&one.layer, &flooded, is_behind).await;
    let many = || vec![to(flooded.clone(), "dos"); 3];
    let deadline = Instant::now() + LONG;
    // A report counts for half a second.
    while !matches!(one.layer.publish_many(many(), |_| ()).await, Err(LayerError::Behind(_))) {
        assert!(Instant::now() < deadline, "batches are refused, too");
    }
    publish_until(&one.layer, &Target::All, is_behind).await;

    let here = ConnectionId { instance: one.id, serial: 1 };
    let there = ConnectionId { instance: slow, serial: 1 };
    for other in [Target::Connection(here), Target::Connection(there), Target::User("7".into())] {
        one.layer.publish(to(other, "otro")).await.unwrap();
    }
    one.send("quieta", "tres").await;

    tokio::spawn(async move { while inbox.recv().await.is_some() {} });
    publish_until(&one.layer, &flooded, Result::is_ok).await;
    drop(layer);
}
