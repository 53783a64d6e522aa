//! Outages of Redis, complete or of one connection.

use super::*;

/// The longest that delivery may take to be back once Redis answers.
const BACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn delivers_a_bare_event_published_in_redis() {
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
async fn clusters_on_one_redis_are_separate() {
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
async fn instances_of_a_cluster_see_each_other() {
    let server = RedisServer::start();
    let (one, two) = (over(&server, |_| {}).await, over(&server, |_| {}).await);
    until("both know", || one.layer.health().peers == 1 && two.layer.health().peers == 1).await;
}

#[tokio::test]
async fn an_instance_of_the_future_does_not_count_once_redis_clock_was_set_back() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    let time = server.ask(&["TIME"]);
    let seconds: u64 = time.lines().nth(2).unwrap().parse().unwrap();
    server.ask(&["ZADD", "groupcast:instances", &(seconds + 3600).to_string(), "deadbeef"]);
    server.ask(&["ZADD", "groupcast:addresses", &(seconds + 3600).to_string(), "deadbeef [::1]:1"]);
    until("it is gone", || server.ask(&["ZCARD", "groupcast:instances"]) == ":1\r\n").await;
    until("nobody asks it", || one.layer.peer_addresses().is_empty()).await;
    assert_eq!(one.layer.health().peers, 0);
}

#[tokio::test]
async fn delivers_again_after_a_gap_when_redis_restarts() {
    let mut server = RedisServer::start();
    for empty in [false, true] {
        let mut one = over(&server, |_| {}).await;
        one.subscribe(&["sala_1"]).await;
        server.kill();
        until("the loss is noticed", || !one.layer.health().delivering).await;
        let since = Instant::now();
        let refused = one.layer.publish(to(Target::Group(group("sala_1")), "perdido")).await;
        assert!(matches!(refused, Err(LayerError::Unreachable(_))), "{refused:?}");
        assert!(since.elapsed() < Duration::from_millis(500), "publishers are refused immediately");
        assert!(one.layer.subscribe(&[group("sala_2")]).await.is_err());
        assert!(one.layer.recover(&[(group("sala_1"), None)]).await.is_err());
        if empty {
            server.wipe();
        }
        server.start_again();
        let since = Instant::now();
        one.delivering().await;
        assert!(since.elapsed() < BACK, "back after {:?}", since.elapsed());
        assert!(matches!(one.next().await, Incoming::Loss(Loss::All)));
        // Requests made during the outage are not forgotten.
        one.send("sala_1", "a").await;
        one.send("sala_2", "b").await;
        assert_eq!(one.next_text_after_gaps().await, event_text("a"));
        assert_eq!(one.next_text().await, event_text("b"));
    }
}

#[tokio::test]
async fn renews_a_killed_subscription_and_reports_a_gap() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.subscribe(&["sala_1"]).await;
    assert_eq!(server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]), ":1\r\n");
    assert!(matches!(one.next().await, Incoming::Loss(Loss::All)));
    one.send("sala_1", "a").await;
    assert_eq!(one.next_text_after_gaps().await, event_text("a"));
}

#[tokio::test]
async fn starts_without_redis_and_delivers_once_it_is_available() {
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
async fn closes_its_connections_when_it_ends() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    let clients = || server.ask(&["INFO", "clients"]);
    let connected = |text: &str| text.contains("connected_clients:1\r\n");
    assert!(!connected(&clients()));
    drop(one);
    until("only the asking client is left", || connected(&clients())).await;
}

/// The rights that the documentation names, and no others.
fn documented_rights() -> Vec<&'static str> {
    let documentation = include_str!("../../../docs/redis.md");
    let line = documentation.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    line.split(' ').collect()
}

fn as_groupcast(server: &RedisServer) -> RedisSettings {
    RedisSettings::new(&server.url().replace("://", "://groupcast:secret@")).unwrap()
}

#[tokio::test]
async fn the_documented_rights_suffice() {
    let server = RedisServer::start();
    assert_eq!(server.ask(&documented_rights()), "+OK\r\n");
    let settings = as_groupcast(&server);
    let mut one = over(&server, |default| *default = settings).await;
    one.subscribe(&["pedido.42", "sala_1"]).await;
    one.send("sala_1", "a").await;
    one.send("pedido.42", "b").await;
    let many = ["sala_1", "pedido.42"].map(|name| to(Target::Group(group(name)), "c"));
    one.layer.publish_many(many.to_vec(), |_| {}).await.unwrap();
    one.layer.unsubscribe(&[group("sala_1")]).await.unwrap();
    let start = one.layer.recover(&[(group("pedido.42"), None)]).await.unwrap().remove(0).unwrap();
    let since = start.position.map(|position| Position { offset: 0, ..position });
    let answer =
        one.layer.recover(&[(group("pedido.42"), since)]).await.unwrap().remove(0).unwrap();
    assert_eq!((answer.recovered, answer.replay.len()), (Some(true), 2));
    // There is no order between the two groups.
    let mut texts = Vec::new();
    for _ in 0..4 {
        texts.push(one.next_text().await);
    }
    texts.sort();
    assert_eq!(texts, ["a", "b", "c", "c"].map(event_text));
    let denied = server.ask(&["ACL", "LOG"]);
    assert_eq!(denied, "*0\r\n", "nothing was tried that is not allowed");
}

#[tokio::test]
async fn a_missing_right_is_reported_and_may_be_granted_later() {
    let server = RedisServer::start();
    server.ask(&documented_rights());
    server.ask(&["ACL", "SETUSER", "groupcast", "resetchannels", "&groupcast:group:*"]);
    let settings = as_groupcast(&server);
    let one = over_unready(&server, |default| *default = settings);
    until("it is tried", || server.ask(&["ACL", "LOG"]).contains("groupcast:")).await;
    assert!(!one.layer.health().started);
    assert!(one.layer.subscribe(&[group("sala_1")]).await.is_err());
    server.ask(&["ACL", "SETUSER", "groupcast", "&groupcast:*"]);
    one.delivering().await;
}

#[tokio::test]
async fn a_history_key_of_the_wrong_type_affects_only_its_group() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.subscribe(&["pedido.42", "pedido.43"]).await;
    server.ask(&["SET", "groupcast:numbering:{pedido.42}", "x"]);
    let refused = one.layer.publish(to(Target::Group(group("pedido.42")), "a")).await;
    assert!(matches!(&refused, Err(LayerError::Refused(why)) if why.contains("WRONGTYPE")));
    one.send("pedido.43", "b").await;
    assert_eq!(one.next_text().await, event_text("b"), "nothing of the other was sent");
}

#[tokio::test]
async fn a_batch_sends_nothing_after_a_publication_that_redis_refuses() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.subscribe(&["sala_1", "pedido.42", "pedido.43"]).await;
    server.ask(&["SET", "groupcast:numbering:{pedido.43}", "x"]);
    let names = ["sala_1", "pedido.42", "pedido.42", "pedido.43", "sala_1", "pedido.42"];
    let publications = names.map(|name| to(Target::Group(group(name)), "a")).to_vec();
    let mut offsets = Vec::new();
    let taken = |position: Option<Position>| offsets.push(position.map(|p| p.offset));
    let refused = one.layer.publish_many(publications.clone(), taken).await;
    assert!(matches!(&refused, Err(LayerError::Refused(why)) if why.contains("WRONGTYPE")));
    assert_eq!(offsets, [None, Some(1), Some(2)]);
    for sent in &publications[..3] {
        assert_eq!(one.next_publication().await.id, sent.id);
    }
    one.has_nothing().await;
}

#[tokio::test]
async fn publishes_a_batch_completely_or_not_at_all_after_redis_lost_its_scripts() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.subscribe(&["sala_1", "pedido.42"]).await;
    server.ask(&["FLUSHALL"]);
    // A beat may have come in between: then the new numbering is known.
    let publications = ["sala_1", "pedido.42"].map(|name| to(Target::Group(group(name)), "a"));
    let mut taken = 0;
    match one.layer.publish_many(publications.to_vec(), |_| taken += 1).await {
        Ok(()) => assert_eq!(taken, 2),
        Err(_) => assert_eq!(taken, 0),
    }
    one.delivering().await;
    let (mut publications, mut announced) = (0, false);
    while (publications, announced) != (taken, true) {
        match one.next().await {
            Incoming::Publication(_) => publications += 1,
            Incoming::Loss(Loss::Possible(PossibleLoss::ALL)) => announced = true,
            other => panic!("{other:?}"),
        }
    }
    one.has_nothing().await;
}

#[tokio::test]
async fn lost_data_is_announced_once_to_every_instance_however_often_it_is_lost_in_a_second() {
    let server = RedisServer::start();
    let (mut one, mut two) = (over(&server, |_| {}).await, over(&server, |_| {}).await);
    for _ in 0..4 {
        server.ask(&["FLUSHALL"]);
        for instance in [&mut one, &mut two] {
            let announced = Incoming::Loss(Loss::Possible(PossibleLoss::ALL));
            assert_eq!(format!("{:?}", instance.next().await), format!("{announced:?}"));
        }
    }
    one.has_nothing().await;
    two.has_nothing().await;
}

#[tokio::test]
async fn never_repeats_a_position_after_redis_was_flushed() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let publish = async || one.layer.publish(to(Target::Group(group("pedido.42")), "a")).await;
        let deadline = Instant::now() + LONG;
        let position = loop {
            match publish().await {
                Ok(position) => break position.unwrap(),
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(position.offset, 1);
        assert!(!epochs.contains(&position.epoch), "{epochs:?} {position:?}");
        epochs.push(position.epoch);
        server.ask(&["FLUSHALL"]);
    }
}

#[tokio::test]
async fn discards_a_malformed_message_and_delivers_the_next() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.subscribe(&["usuario_7", "pedido.42"]).await;
    let position = one.layer.publish(to(Target::Group(group("pedido.42")), "a")).await.unwrap();
    assert_eq!(one.next_text().await, event_text("a"));
    for channel in [
        "groupcast:group:usuario_7".to_owned(),
        "groupcast:control".to_owned(),
        "groupcast:user".to_owned(),
        format!("groupcast:instance:{}", one.id),
    ] {
        for message in [
            // A possible loss of share 0 of 0.
            "\x01\x08aaaaaaaa\x01\x00\x00",
            // And cut short.
            "\x01\x08aaaaaaaa\x01",
            "\x01\x00aaaaaaaa",
            "\x021.a 1\n\x01\x08aaaaaaaa\x01\x00\x00",
            "\x03",
            "\x01",
            "",
        ] {
            server.ask(&["PUBLISH", &channel, message]);
        }
    }
    one.has_nothing().await;
    one.send("usuario_7", "b").await;
    assert_eq!(one.next_text().await, event_text("b"));
    let next = one.layer.publish(to(Target::Group(group("pedido.42")), "c")).await.unwrap();
    assert_eq!(next.unwrap().offset, position.unwrap().offset + 1);
}

#[tokio::test]
async fn a_groups_channel_delivers_only_to_that_group() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.subscribe(&["usuario_7"]).await;
    let channel = "groupcast:group:usuario_7";
    // For all, for a user, a close and a leave of a user, as an instance would write them
    // elsewhere.
    let header = "0123456789abcdef\x00\x00";
    server.ask(&["PUBLISH", channel, &format!("\x01\x03aaaaaaaa{header}{{\"type\":\"a\"}}")]);
    server.ask(&["PUBLISH", channel, &format!("\x01\x01aaaaaaaa{header}\x017{{\"type\":\"a\"}}")]);
    server.ask(&["PUBLISH", channel, "\x01\x06aaaaaaaa\x00\x017\x01"]);
    server.ask(&["PUBLISH", channel, "\x01\x05aaaaaaaa\x00\x017\x01a"]);
    one.has_nothing().await;
    server.ask(&["PUBLISH", channel, &format!("\x01\x00aaaaaaaa{header}{{\"type\":\"a\"}}")]);
    assert_eq!(one.next_publication().await.target, Target::Group(group("usuario_7")));
}

#[tokio::test]
async fn an_unreadable_history_entry_affects_only_the_replay_of_its_group() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    let at = async |name: &str, since| {
        one.layer.recover(&[(group(name), since)]).await.unwrap().remove(0).unwrap()
    };
    let (bad, good) = (at("pedido.42", None).await.position, at("pedido.43", None).await.position);
    one.send("pedido.42", "a").await;
    one.send("pedido.43", "b").await;
    let log = "groupcast:log:{pedido.42}";
    let entry = server.ask(&["XRANGE", log, "-", "+"]);
    let accepted = entry.split("\r\n").skip_while(|line| *line != "t").nth(2).unwrap().to_owned();
    for unreadable in ["", "no envelope", "\x01\x08aaaaaaaa\x01\x00\x00", "\x01\x03aaaaaaaa"] {
        server.ask(&["DEL", log]);
        server.ask(&["XADD", log, "1-0", "t", &accepted, "e", unreadable]);
        let asked = [(group("pedido.42"), bad.clone()), (group("pedido.43"), good.clone())];
        let answers = one.layer.recover(&asked).await.unwrap();
        let [Ok(bad), Ok(good)] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!((bad.recovered, bad.replay.len()), (Some(false), 0), "{unreadable:?}");
        assert_eq!(bad.position.as_ref().unwrap().offset, 1);
        assert_eq!((good.recovered, good.replay.len()), (Some(true), 1));
    }
}

#[tokio::test]
async fn a_refused_history_does_not_affect_the_answers_of_other_groups() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    server.ask(&["SET", "groupcast:numbering:{pedido.42}", "x"]);
    let asked = ["pedido.42", "pedido.43", "sala_1"].map(|name| (group(name), None));
    let answers = one.layer.recover(&asked).await.unwrap();
    let failed: Vec<_> = answers.iter().map(Result::is_err).collect();
    assert_eq!(failed, [true, false, false]);
    assert_eq!(answers[1].as_ref().unwrap().position.as_ref().unwrap().offset, 0);
}

#[tokio::test]
async fn reports_the_error_of_a_replica_and_stays_until_there_is_another_primary() {
    let (primary, server) = (RedisServer::start(), RedisServer::start());
    let one = over(&server, |_| {}).await;
    let known = connections(&server);
    assert!(known.len() >= 2, "{known:?}");
    server.ask(&["REPLICAOF", "127.0.0.1", primary.url().rsplit(':').next().unwrap()]);
    until("the refusal is known", || {
        one.layer.refusal().is_some_and(|words| words.starts_with("READONLY"))
    })
    .await;
    for name in ["sala_1", "pedido.42"] {
        let refused = one.layer.publish(to(Target::Group(group(name)), "a")).await;
        assert!(
            matches!(&refused, Err(LayerError::Refused(why)) if why.starts_with("READONLY")),
            "{refused:?}"
        );
    }
    let now = connections(&server);
    assert!(known.iter().all(|id| now.contains(id)), "the address leads nowhere else");
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    one.delivering().await;
    assert_eq!(one.layer.refusal(), None);
}

#[tokio::test]
async fn reports_the_error_of_a_redis_that_is_out_of_memory() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let deadline = Instant::now() + LONG;
    loop {
        let refused = one.layer.publish(to(Target::Group(group("pedido.42")), "a")).await;
        if matches!(&refused, Err(LayerError::Refused(why)) if why.starts_with("OOM")) {
            break;
        }
        assert!(Instant::now() < deadline, "{refused:?}");
    }
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    one.delivering().await;
    one.send("pedido.42", "b").await;
}

#[tokio::test]
async fn reports_the_error_for_a_wrong_password() {
    let server = RedisServer::start();
    server.ask(&["ACL", "SETUSER", "groupcast", "on", ">right", "~*", "&*", "+@all"]);
    let url = server.url().replace("://", "://groupcast:wrong@");
    let one = over_unready(&server, |default| *default = RedisSettings::new(&url).unwrap());
    until("the refusal is known", || {
        one.layer.refusal().is_some_and(|words| words.contains("WRONGPASS"))
    })
    .await;
    server.ask(&["ACL", "SETUSER", "groupcast", ">wrong"]);
    one.delivering().await;
    assert_eq!(one.layer.refusal(), None);
}

#[tokio::test]
async fn a_password_may_contain_spaces_quotes_and_backslashes() {
    let server = RedisServer::start();
    let password = "two \"words' \\ and\tmore";
    server.ask(&[
        "ACL",
        "SETUSER",
        "groupcast",
        "on",
        &format!(">{password}"),
        "~*",
        "&*",
        "+@all",
    ]);
    let encoded = "two%20%22words%27%20%5C%20and%09more";
    let url = server.url().replace("://", &format!("://groupcast:{encoded}@"));
    over(&server, |default| *default = RedisSettings::new(&url).unwrap()).await;
}

/// The ids of the connections that the layer has.
fn connections(server: &RedisServer) -> Vec<String> {
    let list = server.ask(&["CLIENT", "LIST"]);
    // Neither the one that asks nor the one to a primary.
    let layer = |line: &&str| !line.contains("cmd=client|list") && !line.contains("flags=M");
    let clients = list.lines().filter(|line| line.contains("id=")).filter(layer);
    let id = |line: &str| line.split("id=").nth(1)?.split(' ').next().map(str::to_owned);
    clients.filter_map(id).collect()
}
