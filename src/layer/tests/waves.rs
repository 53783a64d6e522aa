//! Waves: everything that was here comes back at once.

use super::*;

/// Groups that come back, several times what may wait as one command each.
const GROUPS: usize = 20_000;

fn groups_of_a_wave(since: Option<&Position>) -> Vec<(GroupName, Option<Position>)> {
    (0..GROUPS).map(|n| (group(&format!("pedido.{n}")), since.cloned())).collect()
}

/// How often Redis has run `command`, as its statistics call it.
fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats = server.ask(&["INFO", "commandstats"]);
    let prefix = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

async fn recover(
    instance: &Instance,
    asked: &[(GroupName, Option<Position>)],
) -> Vec<Result<Recovery, LayerError>> {
    instance.layer.recover(asked).await.unwrap()
}

#[tokio::test]
async fn answers_a_wave_of_joins_with_few_scripts() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    server.ask(&["CONFIG", "RESETSTAT"]);
    let fresh = recover(&one, &groups_of_a_wave(None)).await;
    let refused = fresh.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 0, "{:?}", fresh.iter().find(|answer| answer.is_err()));
    // One a second more for the heartbeats.
    let scripts = calls(&server, "evalsha");
    assert!(scripts < 90, "{scripts} scripts");
    let start = fresh[0].as_ref().unwrap().position.clone().unwrap();
    one.send("pedido.7", "a").await;
    let again = recover(&one, &groups_of_a_wave(Some(&start))).await;
    let recovered = |answer: &Result<Recovery, _>| answer.as_ref().unwrap().recovered;
    // Each script begins epochs of its own.
    assert!(again.iter().take(384).all(|answer| recovered(answer) == Some(true)));
    assert_eq!(again[7].as_ref().unwrap().replay.len(), 1);
}

#[tokio::test]
async fn refuses_only_the_group_whose_key_is_of_another_type() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    server.ask(&["SET", "groupcast:numbering:{pedido.2}", "x"]);
    let asked = ["pedido.1", "pedido.2", "pedido.3"].map(|name| (group(name), None));
    let answers = recover(&one, &asked).await;
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    let refused = answers[1].as_ref().unwrap_err();
    assert!(matches!(refused, LayerError::Refused(why) if why.contains("WRONGTYPE")), "{refused}");
}

#[tokio::test]
async fn an_unreadable_entry_costs_the_replay_of_its_group_alone() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    let names = ["pedido.1", "pedido.2", "pedido.3"];
    let asked = names.map(|name| (group(name), None));
    let starts = recover(&one, &asked).await;
    let epoch = starts[0].as_ref().unwrap().position.as_ref().unwrap().epoch.clone();
    let epoch = format!("{}.x", epoch.split_once('.').unwrap().0);
    for (foreign, name) in names.into_iter().enumerate() {
        let fields = [&["t", "x", "e", "x"][..], &["campo", "valor"], &[]][foreign];
        if !fields.is_empty() {
            let log = format!("groupcast:log:{{{name}}}");
            let words = [&["XADD", &log, "1-0"], fields].concat();
            server.ask(&words);
            let numbering = format!("groupcast:numbering:{{{name}}}");
            server.ask(&["HSET", &numbering, "epoch", &epoch, "offset", "1"]);
        }
        one.send(name, "a").await;
    }
    let starts = starts.into_iter().map(|answer| answer.unwrap().position);
    let asked: Vec<_> = names.into_iter().map(group).zip(starts).collect();
    let answers = recover(&one, &asked).await;
    let recovered: Vec<_> = answers.iter().map(|it| it.as_ref().unwrap().recovered).collect();
    assert_eq!(recovered, [Some(false), Some(false), Some(true)]);
}

#[tokio::test]
async fn replays_more_than_one_script_carries() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    let names: Vec<_> = (0..20).map(|n| format!("pedido.{n}")).collect();
    let asked: Vec<_> = names.iter().map(|name| (group(name), None)).collect();
    let start = recover(&one, &asked).await.remove(0).unwrap().position;
    let json = format!(r#"{{"type":"a","x":"{}"}}"#, "x".repeat(50_000));
    for name in &names {
        let event = Event::parse(Bytes::from(json.clone())).unwrap();
        let large = Publication { event, ..to(Target::Group(group(name)), "a") };
        one.layer.publish_many(vec![large; 5], |_| {}).await.unwrap();
    }
    let asked: Vec<_> = names.iter().map(|name| (group(name), start.clone())).collect();
    for answer in recover(&one, &asked).await {
        let answer = answer.unwrap();
        assert_eq!((answer.recovered, answer.replay.len()), (Some(true), 5));
    }
}

#[tokio::test]
async fn sends_the_text_of_an_unknown_script_once() {
    let server = RedisServer::start();
    let one = over(&server, |_| {}).await;
    assert_eq!(calls(&server, "script|load"), 5, "on the new connection");
    server.ask(&["SCRIPT", "FLUSH"]);
    server.ask(&["CONFIG", "RESETSTAT"]);
    let names: Vec<_> = (0..500).map(|n| format!("pedido.{n}")).collect();
    futures_util::future::join_all(names.iter().map(|name| one.send(name, "a"))).await;
    let texts = calls(&server, "eval");
    // That of the publications, and perhaps that of a heartbeat.
    assert!((1..=2).contains(&texts), "{texts} of 500 sent the text");
}

#[tokio::test]
async fn publishers_leave_room_for_joins_in_the_queue_of_commands() {
    let server = RedisServer::start();
    let one = over(&server, |settings| settings.commands = 16).await;
    server.ask(&["CLIENT", "PAUSE", "300"]);
    let publications = (0..200).map(|_| one.layer.publish(to(Target::All, "a")));
    let publications = futures_util::future::join_all(publications);
    let asked = [(group("pedido.42"), None)];
    let (published, joined) = tokio::join!(publications, one.layer.recover(&asked));
    assert!(joined.unwrap()[0].is_ok());
    let accepted = published.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(accepted, 12, "three quarters of the queue");
}
