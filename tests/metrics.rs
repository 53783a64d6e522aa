//! Metrics count what happened.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Gateway, eventually, request};

#[tokio::test]
async fn the_exposition_is_well_formed() {
    let gateway = Gateway::start().await;
    gateway.ask("GET /groups/a", &[], "").await;
    let answer = request(gateway.api, "GET /metrics", &[], b"").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut typed = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for line in answer.body.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, _) = rest.split_once(' ').unwrap();
            assert!(typed.insert(name.to_owned()), "{name} is typed twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(seen.insert(series.to_owned()), "{series} is there twice");
        let name = series.split('{').next().unwrap();
        let suffixes = ["_bucket", "_sum", "_count"];
        let family = suffixes
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix).filter(|family| typed.contains(*family)));
        assert!(family.is_some() || typed.contains(name), "{name} has no type");
    }
}

#[tokio::test]
async fn every_label_is_exposed_from_the_start() {
    let gateway = Gateway::start().await;
    let answer = request(gateway.api, "GET /metrics", &[], b"").await;
    for series in [
        r#"connections{protocol="v1"}"#,
        r#"connections{protocol="plain"}"#,
        r#"dropped_total{reason="unlisted"}"#,
        r#"calls_failed_total{reason="bad_answer"}"#,
        r#"auth_failures_total{cause="expired"}"#,
        r#"auth_failures_total{cause="api_right"}"#,
        r#"refusals_total{reason="full"}"#,
        r#"hooks_total{source="asked"}"#,
        r#"hook_seconds_count{outcome="accepted"}"#,
        r#"call_seconds_count{outcome="unreachable"}"#,
        r#"source_entries_total{fate="parked"}"#,
        r#"django_dropped_total{reason="capacity"}"#,
    ] {
        let line = format!("groupcast_{series} 0");
        assert!(answer.body.lines().any(|found| found == line), "{line} in\n{}", answer.body);
    }
}

#[tokio::test]
async fn counts_connections_events_and_refusals() {
    let gateway = Gateway::start().await;
    let mut plain = gateway.plain_member("7").await;
    let mut v1 = gateway.v1("8").await;
    v1.join("sala_1").await;
    gateway.publish("sala_1", json!({"type": "x"})).await;
    gateway.send("/users/7/send", json!({"type": "y"})).await;
    gateway.broadcast(json!({"type": "z"})).await;
    assert_eq!(plain.frame().await, json!({"type": "y"}));
    assert_eq!(plain.frame().await, json!({"type": "z"}));
    assert_eq!(v1.event().await, json!({"type": "x"}));
    assert_eq!(v1.event().await, json!({"type": "z"}));

    let reached = [
        (r#"connections{protocol="v1"}"#, 1.0),
        (r#"connections{protocol="plain"}"#, 1.0),
        ("groups", 3.0),
        ("joins_total", 3.0),
        // The first is published by plain_member.
        (r#"publications_total{target="group"}"#, 2.0),
        (r#"publications_total{target="user"}"#, 1.0),
        (r#"publications_total{target="all"}"#, 1.0),
        ("deliveries_total", 5.0),
        (r#"http_requests_total{route="/groups/{name}/send",status="202"}"#, 2.0),
    ];
    for (name, value) in reached {
        let name = format!("groupcast_{name}");
        gateway.metric_reaches(&name, value).await;
        assert_eq!(gateway.metric(&name).await, value, "{name}");
    }
    // Each shard with receivers measures on its own.
    assert!(gateway.metric("groupcast_publish_to_write_seconds_count").await >= 4.0);
    assert!(gateway.metric("groupcast_writes_total").await >= 5.0);
    assert!(gateway.metric("groupcast_bytes_written_total").await > 5.0 * 12.0);

    // Joining a group again counts nothing.
    v1.join("sala_1").await;
    assert_eq!(gateway.metric("groupcast_joins_total").await, 3.0);

    plain.close(1000).await;
    drop(v1);
    for (code, protocol) in [("1000", "plain"), ("1006", "v1")] {
        gateway.metric_reaches(&format!("groupcast_closes_total{{code=\"{code}\"}}"), 1.0).await;
        let gauge = format!("groupcast_connections{{protocol=\"{protocol}\"}}");
        eventually("the gauge to fall", async || gateway.metric(&gauge).await == 0.0).await;
    }
    gateway.members("sala_1", 0).await;
    assert_eq!(gateway.metric("groupcast_groups").await, 0.0);
}

#[tokio::test]
async fn counts_failed_calls_of_plain_clients() {
    let gateway = Gateway::start().await;
    let mut plain = gateway.plain("/ws", "7").await;
    plain.send(json!({"no": "name"})).await;
    plain.send(json!({"action": "ungranted"})).await;
    let counted = |reason| format!(r#"groupcast_calls_failed_total{{reason="{reason}"}}"#);
    gateway.metric_reaches(&counted("not_a_call"), 1.0).await;
    gateway.metric_reaches(&counted("forbidden"), 1.0).await;
}
