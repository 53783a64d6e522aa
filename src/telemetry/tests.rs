use std::time::Duration;

use super::*;

/// A label, as rooms have theirs.
#[derive(Clone, Copy)]
enum Bird {
    Lark,
    Wren,
}

label!(Bird = "kind" {
    Lark = "lark",
    Wren = "wren",
});

fn flights(metrics: &Metrics) -> Histograms<Bird> {
    metrics.registry().histograms("flight_seconds", "Time in the air.")
}

#[test]
fn exposes_every_label_value_from_the_start() {
    let metrics = Metrics::new();
    let to = metrics.registry();
    let _ = (to.counters::<Bird>("birds_total", "Seen."), flights(&metrics));
    let text = metrics.render();
    for line in [
        "groupcast_publications_total{target=\"all\"} 0",
        "groupcast_birds_total{kind=\"lark\"} 0",
        "groupcast_birds_total{kind=\"wren\"} 0",
        "groupcast_flight_seconds_count{kind=\"wren\"} 0",
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
    let present = metrics.registry().gauges::<Bird>("birds_present", "In sight.");
    present.of(Bird::Lark).increment(3.0);
    present.of(Bird::Lark).decrement(1.0);
    flights(&metrics).of(Bird::Lark).record(Duration::from_micros(70));
    metrics.closes(4508).increment(1);
    metrics.closes(3999).increment(2);
    metrics.shard(1).inbox.set(5.0);
    let text = metrics.render();
    for line in [
        "groupcast_birds_present{kind=\"lark\"} 2",
        "groupcast_flight_seconds_bucket{kind=\"lark\",le=\"0.0001\"} 1",
        "groupcast_closes_total{code=\"4508\"} 1",
        "groupcast_closes_total{code=\"other\"} 2",
        "groupcast_inbox_length{shard=\"1\"} 5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn what_two_rooms_register_under_one_name_counts_together() {
    let metrics = Metrics::new();
    for bird in [Bird::Lark, Bird::Wren, Bird::Lark] {
        metrics.registry().counters::<Bird>("birds_total", "Seen.").of(bird).increment(1);
        flights(&metrics).of(bird).record(Duration::from_secs(1));
    }
    let text = metrics.render();
    for line in [
        "groupcast_birds_total{kind=\"lark\"} 2",
        "groupcast_flight_seconds_count{kind=\"lark\"} 2",
        "groupcast_flight_seconds_count{kind=\"wren\"} 1",
    ] {
        assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line} in\n{text}");
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
    let metrics = Metrics::new();
    flights(&metrics);
    let text = metrics.render();
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
