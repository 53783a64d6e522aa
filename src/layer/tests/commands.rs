//! Commands over Redis: each is applied once, on every instance, whatever is lost in between.

use super::*;
use crate::event::{Member, Stamp};

fn close(sub: &str) -> Control {
    Control::Close(Member::User(sub.into()), 4403)
}

impl Instance {
    /// The next command, behind any number of gaps and earlier closes.
    async fn next_command(&mut self) -> (Control, Stamp) {
        loop {
            match self.next().await {
                Incoming::Loss(_) | Incoming::ClosedEarlier(_) => {}
                Incoming::Control(control, Some(stamp)) => return (control, stamp),
                other => panic!("a numbered command was expected: {other:?}"),
            }
        }
    }

    /// Accepts a command as soon as Redis takes it.
    async fn accept(&self, control: Control) {
        let deadline = Instant::now() + LONG;
        while let Err(error) = self.layer.control(control.clone()).await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn kill_subscriptions(server: &RedisServer) {
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
}

#[tokio::test]
async fn a_command_accepted_without_a_subscription_is_read_from_the_stream() {
    let server = RedisServer::start();
    let (one, mut two) = (over(&server, |_| {}).await, over(&server, |_| {}).await);
    for n in 1..=5 {
        kill_subscriptions(&server);
        one.layer.control(close(&n.to_string())).await.unwrap();
        let (control, stamp) = two.next_command().await;
        assert_eq!((control, stamp.number), (close(&n.to_string()), n));
        two.delivering().await;
    }
}

#[tokio::test]
async fn a_lost_leave_precedes_what_is_published_after_it() {
    let server = RedisServer::start();
    let (one, mut two) = (over(&server, |_| {}).await, over(&server, |_| {}).await);
    two.subscribe(&["sala_1"]).await;
    for n in 1..=20 {
        let leave = Control::Leave(Member::User(n.to_string().into()), group("sala_1"));
        kill_subscriptions(&server);
        one.layer.control(leave.clone()).await.unwrap();
        // What is published before the subscription is back is lost or recovered behind the gap.
        // The secret of an earlier round may still be under way.
        let secret = format!("secreto_{n}");
        one.send("sala_1", &secret).await;
        let (mut seen, mut secrets) = (false, 0);
        while !(seen && two.layer.health().delivering) || secrets == 0 {
            match timeout(Duration::from_millis(50), two.inbox.recv()).await {
                Ok(Some(Incoming::Control(control, _))) => {
                    assert_eq!(control, leave);
                    seen = true;
                }
                Ok(Some(Incoming::Publication(publication)))
                    if text_of(&publication) == event_text(&secret) =>
                {
                    assert!(seen, "round {n}: the secret came before the leave");
                    secrets += 1;
                }
                Ok(Some(_)) => {}
                Ok(None) => panic!("it is not over"),
                Err(_) => one.send("sala_1", &secret).await,
            }
        }
    }
}

#[tokio::test]
async fn commands_keep_their_place_among_publications() {
    let server = RedisServer::start();
    let (one, mut two) = (over(&server, |_| {}).await, over(&server, |_| {}).await);
    two.subscribe(&["sala_1"]).await;
    for n in 1..=50 {
        one.send("sala_1", "adios").await;
        one.layer.control(close("7")).await.unwrap();
        one.send("sala_1", "secreto").await;
        assert_eq!(two.next_text().await, event_text("adios"));
        let (control, stamp) = two.next_command().await;
        assert_eq!((control, stamp.number), (close("7"), n));
        assert_eq!(two.next_text().await, event_text("secreto"));
    }
}

/// A command whose message on the control channel is lost, but not the connection.
#[tokio::test]
async fn a_command_that_did_not_arrive_is_noticed_by_the_next_number() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.layer.control(close("1")).await.unwrap();
    assert_eq!(one.next_command().await.0, close("1"));
    let numbering = server.ask(&["HGET", "groupcast:gen", "commands"]);
    let numbering = numbering.split("\r\n").nth(1).unwrap().to_owned();
    let generation = numbering.split(' ').next().unwrap();
    // As the script would, but without publishing.
    let envelope = b"\x01\x06aaaaaaaa\x00\x012\xb3\x22\x010123456789abcdef\x00\x00";
    let entry = [&b"XADD"[..], b"groupcast:commands", b"2-0", b"t", b"9999999999999", b"g"];
    let rest = [generation.as_bytes(), b"i", b"0123456789abcdef", b"e", envelope];
    assert_eq!(server.ask(&[&entry[..], &rest[..]].concat()), "$3\r\n2-0\r\n");
    server.ask(&["HSET", "groupcast:gen", "commands", &format!("{generation} 2 0")]);
    assert_eq!(one.next_command().await.0, close("2"), "a probe names it");
    one.layer.control(close("3")).await.unwrap();
    assert_eq!(one.next_command().await.0, close("3"));
    one.has_nothing().await;
}

#[tokio::test]
async fn a_command_accepted_before_redis_lost_its_data_reaches_everybody() {
    let mut server = RedisServer::start();
    for round in 0..3 {
        let (one, mut two) = (over(&server, |_| {}).await, over(&server, |_| {}).await);
        let mut three = over(&server, |_| {}).await;
        one.accept(close("7")).await;
        let (_, first) = two.next_command().await;
        assert_eq!(three.next_command().await.1, first);
        match round {
            // Redis forgets a command of which only the accepting instance knows.
            0 => {
                kill_subscriptions(&server);
                one.accept(close("8")).await;
                server.ask(&["FLUSHALL"]);
            }
            1 => {
                kill_subscriptions(&server);
                one.accept(close("8")).await;
                server.kill();
                server.wipe();
                server.start_again();
            }
            _ => {
                kill_subscriptions(&server);
                one.accept(close("8")).await;
                server.kill();
                server.start_again();
            }
        }
        for instance in [&mut two, &mut three] {
            let (control, stamp) = instance.next_command().await;
            assert_eq!((control, stamp), (close("8"), first.next()), "once, with its first stamp");
        }
        one.delivering().await;
        // The numbers of the new generation begin behind those that were appended again.
        one.accept(close("9")).await;
        for instance in [&mut two, &mut three] {
            let (control, stamp) = instance.next_command().await;
            assert_eq!(control, close("9"), "round {round}");
            assert!(stamp > first.next(), "{stamp:?}");
        }
    }
}

#[tokio::test]
async fn commands_trimmed_before_they_were_read_are_reported_as_missed() {
    let server = RedisServer::start();
    let (one, mut two) = (over(&server, |_| {}).await, over(&server, |_| {}).await);
    one.layer.control(close("1")).await.unwrap();
    assert_eq!(two.next_command().await.0, close("1"));
    // Two more came that are no longer kept.
    server.ask(&["DEL", "groupcast:commands"]);
    server.ask(&[
        "EVAL",
        "local stored = redis.call('HGET', KEYS[1], 'commands')
         redis.call('HSET', KEYS[1], 'commands', (string.gsub(stored, ' 1 ', ' 3 ')))",
        "1",
        "groupcast:gen",
    ]);
    assert!(matches!(two.next().await, Incoming::CommandsMissed));
    one.layer.control(close("4")).await.unwrap();
    let (control, stamp) = two.next_command().await;
    assert_eq!((control, stamp.number), (close("4"), 4), "missed once, then in order again");
}

#[tokio::test]
async fn a_full_stream_refuses_until_its_commands_are_old() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    one.layer.control(close("1")).await.unwrap();
    assert_eq!(one.next_command().await.0, close("1"));
    let fill = |age_ms: &str| {
        server.ask(&[
            "EVAL",
            "local time = redis.call('TIME')
             local now = time[1] * 1000 - tonumber(ARGV[1])
             redis.call('DEL', KEYS[1])
             for n = 2, 65537 do
               redis.call('XADD', KEYS[1], n .. '-0', 't', string.format('%.0f', now), 'g', '1')
             end
             local stored = redis.call('HGET', KEYS[2], 'commands')
             redis.call('HSET', KEYS[2], 'commands', (string.gsub(stored, ' %d+ ', ' 65537 ', 1)))",
            "2",
            "groupcast:commands",
            "groupcast:gen",
            age_ms,
        ])
    };
    fill("0");
    let refused = one.layer.control(close("2")).await;
    assert_eq!(refused, Err(LayerError::Full(65_536)));
    fill("601000");
    one.layer.control(close("3")).await.unwrap();
    loop {
        match one.next().await {
            Incoming::Control(control, _) => break assert_eq!(control, close("3")),
            Incoming::CommandsMissed => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_full_redis_takes_commands() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(server.ask(&["SET", "x", "y"]).starts_with("-OOM"));
    one.layer.control(close("7")).await.unwrap();
    assert_eq!(one.next_command().await.0, close("7"));
}

/// One in hand need not be in the stream.
#[tokio::test]
async fn a_command_that_arrives_in_order_is_not_missed_when_the_stream_is_trimmed() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    for n in 1..=20 {
        one.layer.control(close(&n.to_string())).await.unwrap();
        server.ask(&["DEL", "groupcast:commands"]);
        assert_eq!(one.next_command().await.0, close(&n.to_string()));
    }
}

#[tokio::test]
async fn an_older_release_is_understood_and_understands() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    server.ask(&["PUBLISH", "groupcast:control", "\x01\x06aaaaaaaa\x00\x017\x01"]);
    let Incoming::Control(control, None) = one.next().await else { panic!("it has no number") };
    assert_eq!(control, Control::Close(Member::User("7".into()), 1));
}

#[tokio::test]
async fn an_instance_that_starts_learns_who_was_closed_before() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    one.layer.control(close("7")).await.unwrap();
    one.layer.control(Control::Join(Member::User("8".into()), group("a"))).await.unwrap();
    one.layer.control(Control::CloseSession("9".into(), "s".into(), 4401)).await.unwrap();
    let mut two = over(&server, |_| {}).await;
    for expected in ["7", "9"] {
        let Incoming::ClosedEarlier(sub) = two.next().await else { panic!("a close came before") };
        assert_eq!(&*sub, expected);
    }
    two.has_nothing().await;
    assert_eq!(one.layer.stamp().await, two.layer.stamp().await);
}

#[tokio::test]
async fn a_foreign_entry_in_the_stream_harms_nobody() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    server.ask(&["XADD", "groupcast:commands", "1-0", "x", "y"]);
    one.layer.control(close("7")).await.unwrap();
    assert_eq!(one.next_command().await.0, close("7"));
    kill_subscriptions(&server);
    one.layer.control(close("8")).await.unwrap();
    assert_eq!(one.next_command().await.0, close("8"));
}

#[tokio::test]
async fn a_forged_number_neither_hides_nor_repeats_a_command() {
    let server = RedisServer::start();
    let mut one = over(&server, |_| {}).await;
    let forged = b"\x01\x06aaaaaaaa\x00\x017\x01\x010123456789abcdef\x00\x009 999999 0\n";
    server.ask(&[&b"PUBLISH"[..], b"groupcast:control", forged]);
    server.ask(&[&b"PUBLISH"[..], b"groupcast:control", forged]);
    assert!(matches!(one.next().await, Incoming::Control(..)), "once");
    kill_subscriptions(&server);
    one.layer.control(close("8")).await.unwrap();
    assert_eq!(one.next_command().await.0, close("8"));
    one.delivering().await;
    while let Ok(Incoming::Loss(_)) = one.inbox.try_recv() {}
    one.has_nothing().await;
}
