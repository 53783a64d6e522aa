//! RabbitMQ fails, or the layer does while messages come from it: nothing is lost or reordered.

use std::time::{Duration, Instant};

use groupcast::config::Config;
use lapin::types::{AMQPValue, FieldTable};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::{
    Amqp, DeliveryOracle, Forwarder, Gateway, Instance, Numbers, RabbitServer, RedisServer, Socket,
    eventually, soon, token,
};

const QUEUE: &str = "groupcast.groupcast";
const DEAD: &str = "groupcast.groupcast.dead";

/// Servers of their own, and a publisher.
struct Site {
    redis: RedisServer,
    rabbit: RabbitServer,
    amqp: Amqp,
}

impl Site {
    async fn start() -> Self {
        let (redis, rabbit) = (RedisServer::start(), RabbitServer::start());
        let amqp = Amqp::connect(&rabbit.url()).await;
        Self { redis, rabbit, amqp }
    }

    /// With heartbeats of 3 s, so that silence is noticed soon, and slowness is not taken for it.
    fn configuration(&self, amqp: &str) -> String {
        self.configuration_at(self.rabbit.address(), amqp)
    }

    fn configuration_at(&self, rabbit: std::net::SocketAddr, amqp: &str) -> String {
        let (redis, url) = (self.redis.url(), format!("amqp://guest:guest@{rabbit}//?heartbeat=3"));
        // Room for whatever a flood brings, so that nothing is dropped for a slow reader.
        let limits = "[limits]\noutbox_bytes = \"64MiB\"\n[[limits.group]]\npattern = \"*\"\n\
                      capacity = 100000\nexpiry = \"5m\"\n";
        format!("[layer]\nkind = \"redis\"\nurl = {redis:?}\n{limits}[amqp]\nurl = {url:?}\n{amqp}")
    }

    fn stop_redis(&self) {
        kill(Pid::from_raw(self.redis.pid() as i32), Signal::SIGSTOP).unwrap();
    }

    fn continue_redis(&self) {
        kill(Pid::from_raw(self.redis.pid() as i32), Signal::SIGCONT).unwrap();
    }

    /// A gateway that consumes the queue.
    async fn gateway(&self, amqp: &str) -> Gateway {
        let gateway = Gateway::with(&self.configuration(amqp)).await;
        gateway.ready().await;
        gateway
    }
}

/// A browser in `sala_1`, and what it may still be sent.
struct Reader {
    socket: Socket,
    oracle: DeliveryOracle,
}

impl Reader {
    async fn of(gateway: &crate::support::Endpoints) -> Self {
        let mut socket = gateway.v1_silent("/ws").await;
        socket.hello(&token("7")).await;
        let mut oracle = DeliveryOracle::default();
        oracle.observe(&socket.welcome().await).unwrap();
        socket.join("sala_1").await;
        oracle.observe(&json!({"type": "joined", "groups": [{"group": "sala_1"}]})).unwrap();
        Self { socket, oracle }
    }

    /// Reads until the number of this sender has arrived: each once, in order, none missing.
    async fn reads_up_to(&mut self, sender: u64, number: u64) {
        let expected = Numbers::from([(sender, number)]);
        while !self.oracle.has_all("sala_1", &expected) {
            let frame = self.socket.frame().await;
            self.oracle.observe(&frame).unwrap();
        }
        // A Redis that was stopped may have a gap announced, in which nothing was.
        assert_eq!(self.oracle.missed("sala_1"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_other_arguments_is_used_as_it_is() {
    let site = Site::start().await;
    site.amqp.declare(QUEUE, "groupcast", FieldTable::default()).await;
    let instance = Instance::start(&site.configuration("")).await;
    instance.ready().await;
    let mut reader = Reader::of(&instance).await;
    site.amqp.publish_numbers("sala_1", 1, 1..=10, false).await;
    reader.reads_up_to(1, 10).await;
    assert!(instance.log().contains("inequivalent arg"), "{}", instance.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_site_declares_itself_is_consumed_and_nothing_is_declared() {
    let site = Site::start().await;
    let gateway = Gateway::with(&site.configuration("declare = false\n")).await;
    eventually("the missing queue to be told", async || gateway.strict().await == 503).await;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    site.amqp.declare(QUEUE, "groupcast", quorum).await;
    gateway.ready().await;
    let mut reader = Reader::of(&gateway).await;
    site.amqp.publish_numbers("sala_1", 1, 1..=10, true).await;
    site.amqp.publish("wrong key", &json!({"type": "venta"})).await;
    reader.reads_up_to(1, 10).await;
    gateway.metric_reaches("groupcast_amqp_rejected_total", 1.0).await;
    eventually("all to be settled", async || site.amqp.depth(QUEUE).await == (0, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_broker_loses_nothing_and_delays_two_seconds() {
    let mut site = Site::start().await;
    let gateway = Instance::start(&site.configuration("")).await;
    gateway.ready().await;
    let mut reader = Reader::of(&gateway).await;
    site.amqp.publish_numbers("sala_1", 1, 1..=200, true).await;
    // Some have arrived, some are on their way, some wait in the queue.
    site.rabbit.shut_down();
    eventually("its end to be noticed", async || gateway.strict().await == 503).await;
    site.rabbit.start_again();
    let answered = Instant::now();
    while gateway.metric("groupcast_amqp_up").await != 1.0 {
        assert!(answered.elapsed() < Duration::from_secs(2), "{}", gateway.log());
    }
    let amqp = Amqp::connect(&site.rabbit.url()).await;
    amqp.publish_numbers("sala_1", 1, 201..=400, true).await;
    reader.reads_up_to(1, 400).await;
    assert_eq!(amqp.depth(DEAD).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_falls_silent_is_noticed_and_used_again() {
    let site = Site::start().await;
    let gateway = site.gateway("").await;
    let mut reader = Reader::of(&gateway).await;
    site.rabbit.signal(Signal::SIGSTOP);
    eventually("the silence to be noticed", async || gateway.strict().await == 503).await;
    site.rabbit.signal(Signal::SIGCONT);
    gateway.ready().await;
    let amqp = Amqp::connect(&site.rabbit.url()).await;
    amqp.publish_numbers("sala_1", 1, 1..=200, true).await;
    reader.reads_up_to(1, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_memory_blocks_publishers_and_neither_delivery_nor_acknowledgements() {
    let site = Site::start().await;
    let gateway = site.gateway("").await;
    let mut reader = Reader::of(&gateway).await;
    site.stop_redis();
    site.amqp.publish_numbers("sala_1", 1, 1..=1000, true).await;
    // The first dead letter opens a connection that publishes; the second finds it blocked.
    site.amqp.publish("wrong key", &json!({"type": "venta"})).await;
    site.rabbit.control(&["set_vm_memory_high_watermark", "absolute", "1000000"]);
    site.continue_redis();
    reader.reads_up_to(1, 1000).await;
    eventually("all to be settled", async || {
        gateway.metric("groupcast_amqp_unacknowledged").await == 0.0
            && gateway.metric("groupcast_amqp_refused_total{reason=\"target\"}").await == 1.0
    })
    .await;
    site.rabbit.control(&["set_vm_memory_high_watermark", "0.4"]);
    // Perhaps twice: by the broker itself, and by us, who were not answered in time.
    eventually("the dead letter", async || site.amqp.depth(DEAD).await.0 >= 1).await;
    assert_eq!(site.amqp.depth(QUEUE).await, (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_layer_is_away_messages_wait_unacknowledged_and_are_not_delivered_again() {
    let site = Site::start().await;
    // As RabbitMQ 4 has it by default.
    let policy = r#"{"delivery-limit": 20}"#;
    site.rabbit.control(&["set_policy", "like-rabbitmq-4", "^groupcast", policy]);
    let gateway = site.gateway("").await;
    let mut reader = Reader::of(&gateway).await;
    site.stop_redis();
    site.amqp.publish_numbers("sala_1", 1, 1..=1000, true).await;
    gateway.metric_reaches("groupcast_amqp_unacknowledged", 256.0).await;
    gateway.metric_reaches("groupcast_amqp_oldest_seconds", 4.0).await;
    assert_eq!(gateway.metric("groupcast_amqp_unacknowledged").await, 256.0, "only the prefetch");
    site.continue_redis();
    reader.reads_up_to(1, 1000).await;
    assert_eq!(gateway.metric("groupcast_amqp_redelivered_total").await, 0.0);
    assert_eq!(site.amqp.depth(DEAD).await.0, 0);
    eventually("its age to be zero", async || {
        gateway.metric("groupcast_amqp_oldest_seconds").await == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_stays_away_leaves_the_queue_to_other_instances() {
    let site = Site::start().await;
    let soon_given_up = |config: &mut Config| {
        config.amqp.as_mut().unwrap().layer_timeout = Duration::from_secs(3);
    };
    let gateway = Gateway::with_settings(&site.configuration(""), soon_given_up).await;
    gateway.ready().await;
    let mut reader = Reader::of(&gateway).await;
    site.stop_redis();
    site.amqp.publish_numbers("sala_1", 1, 1..=300, true).await;
    eventually("the consumer to go", async || site.amqp.depth(QUEUE).await == (300, 0)).await;
    site.continue_redis();
    reader.reads_up_to(1, 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_the_broker_ends_for_its_silence_begins_anew() {
    let site = Site::start().await;
    for name in ["consumer_timeout", "channel_tick_interval"] {
        let set = format!("application:set_env(rabbit, {name}, 1000).");
        site.rabbit.control(&["eval", &set]);
    }
    let gateway = site.gateway("").await;
    let mut reader = Reader::of(&gateway).await;
    site.stop_redis();
    site.amqp.publish_numbers("sala_1", 1, 1..=300, true).await;
    eventually("the broker to end it", async || site.amqp.depth(QUEUE).await.0 >= 300).await;
    site.continue_redis();
    reader.reads_up_to(1, 300).await;
    gateway.metric_reaches("groupcast_amqp_redelivered_total", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_cut_again_and_again_loses_and_repeats_nothing() {
    let site = Site::start().await;
    let forwarder = Forwarder::to(site.rabbit.address()).await;
    let configuration = site.configuration_at(forwarder.address, "");
    let gateway = Gateway::with(&configuration).await;
    gateway.ready().await;
    let mut reader = Reader::of(&gateway).await;
    for round in 0..5 {
        let numbers = 1 + round * 400..=(round + 1) * 400;
        site.amqp.publish_numbers("sala_1", 1, numbers.clone(), true).await;
        forwarder.cut();
        eventually("the cut to be noticed", async || gateway.strict().await == 503).await;
        forwarder.lead_to(site.rabbit.address());
        reader.reads_up_to(1, *numbers.end()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_instance_is_replaced_and_repeats_nothing_when_it_continues() {
    let site = Site::start().await;
    let configuration = site.configuration("");
    let mut first = Instance::start(&configuration).await;
    first.ready().await;
    first.kill();
    first.start_to_fail("after-once:stop:2").await;
    first.ready().await;
    let second = Gateway::with(&configuration).await;
    second.ready().await;
    let mut reader = Reader::of(&second).await;
    site.amqp.publish_numbers("sala_1", 1, 1..=1000, true).await;
    reader.reads_up_to(1, 1000).await;
    eventually("the first to have stopped", async || first.is_stopped()).await;
    first.signal(Signal::SIGCONT);
    first.ready().await;
    site.amqp.publish_numbers("sala_1", 1, 1001..=1100, true).await;
    reader.reads_up_to(1, 1100).await;
    eventually("all to be settled", async || site.amqp.depth(QUEUE).await.0 == 0).await;
    assert_eq!(site.amqp.depth(DEAD).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_exchange_for_dead_letters_the_queue_keeps_them_until_there_is_one() {
    let site = Site::start().await;
    // Otherwise the broker tries again after minutes only.
    let often = "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 1000).";
    site.rabbit.control(&["eval", often]);
    let gateway = site.gateway("").await;
    let mut reader = Reader::of(&gateway).await;
    let options = lapin::options::ExchangeDeleteOptions::default();
    site.amqp.channel.exchange_delete("groupcast.dead".into(), options).await.unwrap();
    site.amqp.publish("wrong key", &json!({"type": "venta"})).await;
    site.amqp.publish_numbers("sala_1", 1, 1..=10, false).await;
    reader.reads_up_to(1, 10).await;
    gateway.metric_reaches("groupcast_amqp_rejected_total", 1.0).await;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    site.amqp.declare("mine", "groupcast.dead", quorum).await;
    let letter = soon("the dead letter", async {
        loop {
            if let Some(letter) = site.amqp.dead_letter("mine").await {
                return letter;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(letter.await.key, "wrong key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_lost_while_the_layer_is_away_cost_one_delivery_at_most() {
    let site = Site::start().await;
    let policy = r#"{"delivery-limit": 3}"#;
    site.rabbit.control(&["set_policy", "few-deliveries", "^groupcast", policy]);
    let forwarder = Forwarder::to(site.rabbit.address()).await;
    let gateway = Gateway::with(&site.configuration_at(forwarder.address, "")).await;
    gateway.ready().await;
    let mut reader = Reader::of(&gateway).await;
    site.stop_redis();
    site.amqp.publish_numbers("sala_1", 1, 1..=100, true).await;
    gateway.metric_reaches("groupcast_amqp_unacknowledged", 1.0).await;
    for _ in 0..10 {
        forwarder.cut();
        eventually("the cut to be noticed", async || {
            gateway.metric("groupcast_amqp_up").await == 0.0
        })
        .await;
        forwarder.lead_to(site.rabbit.address());
    }
    site.continue_redis();
    reader.reads_up_to(1, 100).await;
    assert_eq!(site.amqp.depth(DEAD).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_waited_arrives_in_order_with_little_memory() {
    const EACH: u64 = 25_000;
    let site = Site::start().await;
    let configuration = site.configuration("");
    let mut instance = Instance::start(&configuration).await;
    instance.ready().await;
    instance.terminate().await;
    let other = Amqp::connect(&site.rabbit.url()).await;
    tokio::join!(
        site.amqp.publish_numbers("sala_1", 1, 1..=EACH, true),
        other.publish_numbers("sala_1", 2, 1..=EACH, false),
    );
    // The browser is there before the queue is drained.
    let without_queue = configuration.split("[amqp]").next().unwrap();
    let listener = Gateway::with(without_queue).await;
    listener.ready().await;
    let mut reader = Reader::of(&listener).await;
    instance.start_again().await;
    let before = instance.resident_bytes();
    reader.reads_up_to(1, EACH).await;
    reader.reads_up_to(2, EACH).await;
    let grown = instance.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    eventually("all to be settled", async || site.amqp.depth(QUEUE).await == (0, 1)).await;
}
