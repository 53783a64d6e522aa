use std::time::Duration;

use super::*;

#[test]
fn exposes_every_label_value_from_the_start() {
    let text = Metrics::new().render();
    for line in [
        "groupcast_connections{protocol=\"v1\"} 0",
        "groupcast_connections{protocol=\"plain\"} 0",
        "groupcast_publications_total{target=\"all\"} 0",
        "groupcast_dropped_total{reason=\"unlisted\"} 0",
        "groupcast_auth_failures_total{cause=\"expired\"} 0",
        "groupcast_refusals_total{reason=\"full\"} 0",
        "groupcast_closes_total{code=\"4508\"} 0",
        "groupcast_closes_total{code=\"other\"} 0",
        "groupcast_deliveries_total 0",
        "groupcast_outbox_bytes 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn exposes_what_a_handle_counts() {
    let metrics = Metrics::new();
    metrics.connections.of(Protocol::Plain).increment(3.0);
    metrics.connections.of(Protocol::Plain).decrement(1.0);
    metrics.dropped.of(DropReason::Bytes).increment(7);
    metrics.closes(4508).increment(1);
    metrics.closes(3999).increment(2);
    metrics.shard(1).inbox.set(5.0);
    let text = metrics.render();
    for line in [
        "groupcast_connections{protocol=\"plain\"} 2",
        "groupcast_dropped_total{reason=\"bytes\"} 7",
        "groupcast_closes_total{code=\"4508\"} 1",
        "groupcast_closes_total{code=\"other\"} 2",
        "groupcast_inbox_length{shard=\"1\"} 5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn two_gateways_in_one_process_count_separately() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.deliveries.increment(1);
    assert!(one.render().contains("groupcast_deliveries_total 1"));
    assert!(other.render().contains("groupcast_deliveries_total 0"));
}

#[test]
fn a_histogram_is_cumulative_and_has_a_sum() {
    let metrics = Metrics::new();
    metrics.publish_to_write.record(Duration::from_micros(50));
    metrics.publish_to_write.record_many(Duration::from_micros(51), 2);
    metrics.publish_to_write.record(Duration::from_secs(60));
    let text = metrics.render();
    let name = "groupcast_publish_to_write_seconds";
    for line in [
        format!("{name}_bucket{{le=\"0.00005\"}} 1"),
        format!("{name}_bucket{{le=\"0.0001\"}} 3"),
        format!("{name}_bucket{{le=\"10\"}} 3"),
        format!("{name}_bucket{{le=\"+Inf\"}} 4"),
        format!("{name}_count 4"),
        format!("{name}_sum 60.000152"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn counts_requests_by_template_and_status() {
    let metrics = Metrics::new();
    for status in [202, 202, 401] {
        metrics.http_request("/groups/{name}/send", status, Duration::from_millis(1));
    }
    let text = metrics.render();
    for line in [
        "groupcast_http_requests_total{route=\"/groups/{name}/send\",status=\"202\"} 2",
        "groupcast_http_requests_total{route=\"/groups/{name}/send\",status=\"401\"} 1",
        "groupcast_http_request_seconds_count{route=\"/groups/{name}/send\"} 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn every_metric_has_the_prefix_and_a_description() {
    let text = Metrics::new().render();
    for sample in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = sample.split(['{', ' ']).next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        assert!(name.starts_with("groupcast_"), "{sample}");
        assert!(text.contains(&format!("# HELP {family} ")), "{family} is not described");
    }
}

#[test]
fn refuses_an_invalid_log_filter() {
    let settings = |filter: &str| LogSettings { filter: filter.to_owned(), ..Default::default() };
    assert!(settings("info,groupcast::hub=debug").check().is_ok());
    assert!(settings("groupcast=loud").check().is_err());
}
