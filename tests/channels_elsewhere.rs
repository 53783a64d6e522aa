//! Django's channel layer on a Redis of its own, apart from that of the gateways: everything once
//! and in order, and one of them away does not stop the work of the other.

use std::time::{Duration, Instant as Moment};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Django, Instance, Python, RedisServer, Snapshot, VirtualClients, eventually, expected_of,
    expected_of_all, mailbox, request,
};

const GROUPS: [&str; 4] = ["sala_0", "sala_1", "pedido.0", "pedido.1"];

/// The longest until delivery resumes.
const RESUMED: Duration = Duration::from_secs(2);

/// Two servers, and as many instances as asked for.
struct Site {
    layer: RedisServer,
    channels: RedisServer,
    django: Django,
    instances: Vec<Instance>,
}

impl Site {
    async fn start(instances: usize) -> Self {
        Self::with(instances, json!({}), "").await
    }

    async fn with(count: usize, config: Value, of_channels: &str) -> Self {
        let (layer, channels) = (RedisServer::start(), RedisServer::start());
        let django = Django::core(&channels).with_layer_at(layer.address());
        let django = django.with(config, of_channels);
        let mut instances = Vec::new();
        for _ in 0..count {
            instances.push(Instance::start(&django.gateway()).await);
        }
        let site = Self { layer, channels, django, instances };
        site.ready().await;
        site
    }

    async fn ready(&self) {
        for instance in &self.instances {
            instance.ready().await;
        }
    }

    async fn clients(&self) -> VirtualClients {
        self.clients_of(&GROUPS).await
    }

    /// Three members of each group.
    async fn clients_of(&self, groups: &[&str]) -> VirtualClients {
        let addresses = self.instances.iter().map(|instance| instance.public);
        let mut clients = VirtualClients::new(addresses.collect(), 1);
        for group in groups {
            (0..3).for_each(|_| clients.add(&[group]));
        }
        clients.wait_until_joined().await;
        clients
    }

    async fn senders(&self, groups: &[&str]) -> Python {
        let options = json!({"groups": groups, "processes": 2, "pause": 0.002, "below": 50});
        let mut senders = Python::senders(self.django.options(options)).await;
        senders.write_line("go");
        senders
    }
}

/// The words of `/readyz?strict`.
async fn words(instance: &Instance) -> String {
    request(instance.api, "GET /readyz?strict", &[], b"").await.body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivers_once_while_instances_end_between_the_two_steps() {
    // As many as let each instance have mailboxes to drain.
    let groups: Vec<String> =
        (0..6).flat_map(|n| [format!("sala_{n}"), format!("pedido.{n}")]).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let mut site = Site::start(2).await;
    let mut clients = site.clients_of(&groups).await;
    let mut senders = site.senders(&groups).await;
    for (which, place) in [
        (0, "before-remove:abort:3"),
        (1, "before-remove:abort:20"),
        (0, "before-commit:abort:5"),
        (1, "before-remove:abort:1"),
        (0, "after-commit:abort:9"),
    ] {
        site.instances[which].kill();
        site.instances[which].start_to_fail(place).await;
        clients.set_address(which, site.instances[which].public);
        eventually("the instance to end", async || {
            clients.check();
            site.instances[which].has_ended()
        })
        .await;
        site.instances[which].start_again().await;
        clients.set_address(which, site.instances[which].public);
        site.ready().await;
    }
    senders.write_line("end");
    let summary = senders.summary().await;
    assert_eq!(summary["over_capacity"], 0, "{summary}");
    for oracle in clients.finish(expected_of(&summary)).await {
        // What a killed instance had taken for its own clients is told when they return; groups
        // with a history recover it.
        assert!(oracle.events > 20, "{oracle:?}");
        let kept = groups.iter().filter(|group| group.starts_with("pedido."));
        let missed: u64 = kept.map(|group| oracle.missed(group)).sum();
        assert_eq!(missed, 0, "{oracle:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivers_all_of_four_processes_in_order() {
    let site = Site::start(2).await;
    let clients = site.clients().await;
    let options = json!({"groups": GROUPS, "events": 500, "below": 50});
    let summary = Python::send(site.django.options(options)).await;
    assert_eq!((&summary["sent"], &summary["over_capacity"]), (&json!(2000), &json!(0)));
    for oracle in clients.finish(expected_of(&summary)).await {
        // Where a heartbeat of the other server is late, a member may be told a possible loss.
        assert_eq!((oracle.events, oracle.repetitions), (500, 0), "{oracle:?}");
    }
    assert_eq!(site.layer.ask(&["KEYS", "asgi*"]), "*0\r\n", "nothing of Django is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_instance_repeats_nothing_of_what_it_had_read() {
    let mut site = Site::start(2).await;
    let mut clients = site.clients().await;
    let mut senders = site.senders(&GROUPS).await;
    site.instances[0].kill();
    site.instances[0].start_to_fail("before-commit:stop:4").await;
    clients.set_address(0, site.instances[0].public);
    eventually("the instance to stop", async || {
        clients.check();
        site.instances[0].is_stopped()
    })
    .await;
    let sent = "groupcast_source_entries_total{fate=\"sent\"}";
    let before = site.instances[1].metric(sent).await;
    site.instances[1].metric_reaches(sent, before + 300.0).await;
    site.instances[0].signal(Signal::SIGCONT);
    site.ready().await;
    senders.write_line("end");
    let summary = senders.summary().await;
    for oracle in clients.finish(expected_of(&summary)).await {
        assert_eq!(oracle.repetitions, 0, "{oracle:?}");
    }
}

#[tokio::test]
async fn the_layer_works_while_the_server_of_channels_is_away() {
    let mut site = Site::start(1).await;
    let mut member = site.instances[0].v1("ana").await;
    member.join("sala_0").await;
    site.channels.kill();
    let place = format!("the channel layer's redis at {} is away: ", site.channels.address());
    eventually("the words to say which", async || {
        words(&site.instances[0]).await.starts_with(&place)
    })
    .await;
    let plain = request(site.instances[0].api, "GET /readyz", &[], b"").await;
    assert_eq!(plain.status, 200, "no other instance would be better");
    assert_eq!(site.instances[0].metric("groupcast_channels_up").await, 0.0);
    // Joins, publications and the stream go on.
    let mut other = site.instances[0].v1("bea").await;
    other.join("sala_9").await;
    site.instances[0].still_serves_group(&mut other, "sala_9").await;
    let event = json!({"type": "aviso"});
    let text = event.to_string();
    site.layer.ask(&["XADD", "groupcast:ingress", "*", "group", "sala_0", "event", &text]);
    assert_eq!(member.event().await, event);
    site.channels.start_again();
    let since = Moment::now();
    site.ready().await;
    assert!(since.elapsed() < RESUMED, "{:?}", since.elapsed());
    assert_eq!(site.instances[0].metric("groupcast_channels_up").await, 1.0);
    // Both groups are found; what was sent meanwhile may be lost, as a gap says.
    let mut view = Python::layer(&site.django.options(json!({})));
    for (socket, group) in [(&mut member, "sala_0"), (&mut other, "sala_9")] {
        view.call(json!(["group_send", group, {"type": "vuelve", "group": group}])).await;
        loop {
            let frame = socket.frame().await;
            if frame["type"] == "event" {
                assert_eq!(frame["data"]["group"], group);
                break;
            }
            assert_eq!(frame["type"], "gap", "{frame}");
        }
    }
}

#[tokio::test]
async fn what_django_sends_waits_while_the_layers_server_is_away() {
    let mut site = Site::start(2).await;
    let mut clients = site.clients().await;
    let mut summaries = vec![site.django.send(0, &GROUPS, 5).await];
    clients.wait_until_received(expected_of_all(&summaries)).await;
    site.layer.kill();
    eventually("the loss to show", async || site.instances[0].strict().await == 503).await;
    summaries.push(site.django.send(1, &GROUPS, 10).await);
    site.layer.start_again();
    site.ready().await;
    summaries.push(site.django.send(2, &GROUPS, 5).await);
    for oracle in clients.finish(expected_of_all(&summaries)).await {
        assert_eq!(oracle.events, 20);
        assert_eq!(GROUPS.iter().map(|group| oracle.missed(group)).sum::<u64>(), 0);
    }
}

#[tokio::test]
async fn a_restart_of_the_server_of_channels_is_told_with_and_without_its_data() {
    let mut site = Site::start(2).await;
    let mut clients = site.clients().await;
    let mut summaries = vec![site.django.send(0, &GROUPS, 5).await];
    for (sender, is_empty) in [(1, false), (2, true)] {
        clients.wait_until_received(expected_of_all(&summaries)).await;
        site.channels.kill();
        eventually("the loss to show", async || site.instances[0].strict().await == 503).await;
        if is_empty {
            site.channels.wipe();
        }
        site.channels.start_again();
        let since = Moment::now();
        site.ready().await;
        assert!(since.elapsed() < RESUMED, "{:?}", since.elapsed());
        summaries.push(site.django.send(sender, &GROUPS, 5).await);
    }
    for oracle in clients.finish(expected_of_all(&summaries)).await {
        assert_eq!(oracle.events, 15);
        let gaps: u64 = GROUPS.iter().map(|group| oracle.gaps(group)).sum();
        assert!(gaps >= 2, "two possible losses: {gaps}");
    }
}

#[tokio::test]
async fn old_data_of_the_server_of_channels_brings_nothing_twice() {
    let mut site = Site::start(1).await;
    let mut clients = site.clients().await;
    site.instances[0].signal(Signal::SIGSTOP);
    eventually("the instance to stop", async || site.instances[0].is_stopped()).await;
    let mut summaries = vec![site.django.send(0, &GROUPS, 20).await];
    let waiting = site.channels.ask(&["ZCARD", &mailbox(&site.channels, "sala_0")]);
    assert_ne!(waiting, ":0\r\n");
    let snapshot = Snapshot::of(&site.channels);
    site.instances[0].signal(Signal::SIGCONT);
    for group in GROUPS {
        let key = mailbox(&site.channels, group);
        eventually("the mailbox to be empty", async || {
            site.channels.ask(&["EXISTS", &key]) == ":0\r\n"
        })
        .await;
    }
    // What an instance has taken and not delivered yet ends with it.
    clients.wait_until_received(expected_of_all(&summaries)).await;
    site.channels.kill();
    // Another process, which remembers nothing: the marks do.
    site.instances[0].kill();
    snapshot.put_back(&site.channels);
    site.channels.start_again();
    site.instances[0].start_again().await;
    clients.set_address(0, site.instances[0].public);
    site.ready().await;
    summaries.push(site.django.send(1, &GROUPS, 5).await);
    for oracle in clients.finish(expected_of_all(&summaries)).await {
        assert_eq!(oracle.repetitions, 0, "{oracle:?}");
    }
}

#[tokio::test]
async fn reaches_djangos_consumers_and_single_browsers_on_that_server() {
    let site = Site::with(1, json!({}), "send = [\"*\"]\n").await;
    let options = site.django.options(json!({"groups": ["sala_0"]}));
    let mut consumer = Python::consumer(&options).await;
    let mut browser = site.instances[0].v1("ana").await;
    browser.join("sala_0").await;
    let event = json!({"type": "aviso", "n": 1});
    site.instances[0].publish("sala_0", event.clone()).await;
    assert_eq!(consumer.line().await, event);
    assert_eq!(browser.event().await, event);
    let report = site.instances[0].ask("GET /users/ana", &[], "").await.json();
    let channel = report["connections"][0]["channel"].as_str().unwrap();
    let mut view = Python::layer(&site.django.options(json!({})));
    view.call(json!(["send", channel, {"type": "directo"}])).await;
    assert_eq!(browser.event().await, json!({"type": "directo"}));
}
