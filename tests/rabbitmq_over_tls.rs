//! RabbitMQ over TLS, with the certificates of an authority of the test's own.

use serde_json::json;

use crate::support::{Amqp, Authority, Gateway, Instance, RabbitServer, eventually};

fn configuration(port: u16, tls: &str) -> String {
    format!(
        "[amqp]\nurl = \"amqps://guest:guest@localhost:{port}//?heartbeat=3\"\n[amqp.tls]\n{tls}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_over_tls_and_certificates_are_read_anew_at_each_connection() {
    let authority = Authority::new();
    let (mut rabbit, port) = RabbitServer::start_with_tls(&authority);
    let client = authority.certify("client");
    let files = format!(
        "ca_file = {:?}\ncertificate_file = {:?}\nkey_file = {:?}\n",
        authority.certificate(),
        client.certificate,
        client.key
    );
    let gateway = Gateway::with(&configuration(port, &files)).await;
    gateway.ready().await;
    let mut ana = gateway.v1("ana").await;
    let amqp = Amqp::connect(&rabbit.url()).await;
    // More than one TLS record, and one frame of AMQP.
    let large = json!({"type": "venta", "texto": "ñ".repeat(25_000)});
    for event in [&json!({"type": "a"}), &large] {
        amqp.publish("user:ana", event).await;
        assert_eq!(&ana.event().await, event);
    }
    authority.certify("renewed").replace(&client);
    rabbit.shut_down();
    eventually("its end to be noticed", async || gateway.strict().await == 503).await;
    rabbit.start_again();
    gateway.ready().await;
    let amqp = Amqp::connect(&rabbit.url()).await;
    amqp.publish("user:ana", &json!({"type": "b"})).await;
    assert_eq!(ana.event().await, json!({"type": "b"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_trusted_gets_nothing_and_the_log_says_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_rabbit, port) = RabbitServer::start_with_tls(&authority);
    let trusts_another = format!("ca_file = {:?}\n", other.certificate());
    let no_certificate = format!("ca_file = {:?}\n", authority.certificate());
    for (files, words) in [(trusts_another, "invalid peer certificate"), (no_certificate, "")] {
        let instance = Instance::start(&configuration(port, &files)).await;
        eventually("the reason to be logged", async || {
            let log = instance.log();
            log.contains("is not consumed") && log.contains(words)
        })
        .await;
        assert_eq!(instance.strict().await, 503);
        assert!(!instance.log().contains("guest:guest"), "{}", instance.log());
    }
}
