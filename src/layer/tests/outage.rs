//! Redis goes away and comes back, wholly or for one connection.

use super::*;

/// The longest that delivery may take to be back once Redis answers.
const BACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_bare_event_from_any_language_arrives() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.subscribe(&["usuario_7"]).await;
    for nonsense in ["hola", "[1]", "{\"no\":\"type\"}"] {
        server.ask(&["PUBLISH", "groupcast:group:usuario_7", nonsense]);
    }
    server.ask(&["PUBLISH", "groupcast:group:usuario_7", r#"{"type":"aviso","n":1}"#]);
    let publication = one.next_publication().await;
    assert_eq!(publication.target, Target::Group(group("usuario_7")));
    assert_eq!(text_of(&publication), r#"{"type":"aviso","n":1}"#);
}

#[tokio::test]
async fn clusters_on_one_redis_do_not_see_each_other() {
    let server = RedisServer::start();
    let mut one = over(&server, |settings| settings.cluster = "tienda".to_owned()).await;
    let mut two = over(&server, |_| {}).await;
    for instance in [&one, &two] {
        instance.subscribe(&["sala_1"]).await;
    }
    one.send("sala_1", "a").await;
    one.layer.publish(to(Target::All, "b")).await.unwrap();
    assert_eq!(one.next_text().await, event_text("a"));
    assert_eq!(one.next_text().await, event_text("b"));
    two.has_nothing().await;
    assert_eq!((one.layer.health().peers, two.layer.health().peers), (0, 0));
}

#[tokio::test]
async fn instances_of_a_cluster_know_that_they_are_not_alone() {
    let server = RedisServer::start();
    let (one, two) = (over(&server, |_| {}).await, over(&server, |_| {}).await);
    until("both know", || one.layer.health().peers == 1 && two.layer.health().peers == 1).await;
}

#[tokio::test]
async fn a_restarted_redis_delivers_again_and_the_gap_is_told() {
    let mut server = RedisServer::start();
    for empty in [false, true] {
        let mut one = over(&server, |_| {}).await;
        one.subscribe(&["sala_1"]).await;
        server.kill();
        until("the loss is noticed", || !one.layer.health().delivering).await;
        let since = Instant::now();
        let refused = one.layer.publish(to(Target::Group(group("sala_1")), "perdido")).await;
        assert!(matches!(refused, Err(LayerError::Unreachable(_))), "{refused:?}");
        assert!(since.elapsed() < Duration::from_millis(500), "publishers are told at once");
        assert!(one.layer.subscribe(&[group("sala_2")]).await.is_err());
        assert!(one.layer.recover(&[(group("sala_1"), None)]).await.is_err());
        if empty {
            server.wipe();
        }
        server.start_again();
        let since = Instant::now();
        one.delivering().await;
        assert!(since.elapsed() < BACK, "back after {:?}", since.elapsed());
        assert!(matches!(one.next().await, Incoming::Gap(Gap::All)));
        // What was asked for meanwhile was not forgotten.
        one.send("sala_1", "a").await;
        one.send("sala_2", "b").await;
        assert_eq!(one.next_text().await, event_text("a"));
        assert_eq!(one.next_text().await, event_text("b"));
    }
}

#[tokio::test]
async fn a_killed_subscription_is_made_anew_and_the_gap_is_told() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.subscribe(&["sala_1"]).await;
    assert_eq!(server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]), ":1\r\n");
    assert!(matches!(one.next().await, Incoming::Gap(Gap::All)));
    one.send("sala_1", "a").await;
    assert_eq!(one.next_text().await, event_text("a"));
}

#[tokio::test]
async fn an_instance_starts_without_redis_and_delivers_once_it_is_there() {
    let mut server = RedisServer::start();
    server.kill();
    let one = over_unready(&server, |_| {});
    assert!(!one.layer.health().started);
    let refused = one.layer.subscribe(&[group("sala_1")]).await;
    assert!(matches!(refused, Err(LayerError::Unreachable(_))), "{refused:?}");
    server.start_again();
    one.delivering().await;
}

#[tokio::test]
async fn the_end_of_a_layer_ends_its_connections() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    let clients = || server.ask(&["INFO", "clients"]);
    let connected = |text: &str| text.contains("connected_clients:1\r\n");
    assert!(!connected(&clients()));
    drop(one);
    until("only the asking client is left", || connected(&clients())).await;
}
