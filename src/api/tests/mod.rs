//! The complete router over a real publisher, memory layer and hub.
//!
//! Every response is checked against the API's own description.

mod batch;
mod bounds;
mod broadcast;
mod close;
mod description;
mod members;
mod operators;
mod refusals;
mod reports;
mod send;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;
use utoipa::OpenApi;

use super::*;
use crate::console;
use crate::event::{Control, Publication};
use crate::group::{GroupName, GroupPattern};
use crate::hub::{self, Hub, ShardConfig};
use crate::identity::{self, ApiKeySettings, ApiKeys, AuthFailure, Policy, Right, Verifier};
use crate::layer::{Broker, Inbox, Incoming, Layer};
use crate::publish::{self, Publisher};
use crate::telemetry::{Journal, Metrics};

/// May do everything.
const SHOP: &str = "shop-shop-shop-shop";
/// May do everything with `pedido.*`, but not send to users.
const ORDERS: &str = "orders-orders-orders";
/// May look at `pedido.*`.
const AUDIT: &str = "audit-audit-audit";

/// Far longer than any of these tests takes, so that only a hang reaches it.
const LONG: Duration = Duration::from_secs(30);

struct Gateway {
    router: Router,
    inbox: Inbox,
    metrics: Arc<Metrics>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
}

/// A gateway with the default bounds, whose groups `pedido.42` and `sala_1` have a subscriber.
async fn gateway() -> Gateway {
    gateway_with(publish::Settings { publish_timeout: LONG, ..Default::default() }, LONG).await
}

async fn gateway_with(settings: publish::Settings, timeout: Duration) -> Gateway {
    let (api, inbox, metrics) = api(settings, timeout).await;
    Gateway { router: api.router(), inbox, metrics }
}

async fn api(settings: publish::Settings, timeout: Duration) -> (Api, Inbox, Arc<Metrics>) {
    let (memory, inbox) = Arc::new(Broker::default()).attach();
    let layer = Layer::Memory(memory);
    let groups = ["pedido.42", "sala_1"].map(|name| GroupName::parse(name).expect("legal"));
    layer.subscribe(&groups).await.expect("memory is reachable");
    let metrics = Arc::new(Metrics::new());
    let publisher = Arc::new(Publisher::new(settings, layer.clone()));
    let (hub, journal) = (hub(&metrics), Arc::new(Journal::default()));
    let (console, its) = console::start(hub.clone(), layer, Arc::clone(&metrics), journal, None);
    tokio::spawn(its.sampling);
    tokio::spawn(its.sharing);
    let api = Api {
        publisher,
        hub,
        console,
        tasks: None,
        guesses: GuessLimit::default(),
        keys: keys(),
        mailboxes: None,
        auth_failures: AuthFailure::counters(&metrics),
        metrics: Arc::clone(&metrics),
        settings: Settings { timeout, ..Settings::default() },
    };
    (api, inbox, metrics)
}

fn hub(metrics: &Arc<Metrics>) -> Hub {
    let settings = identity::Settings::default();
    let shard_config = ShardConfig {
        connection: Default::default(),
        shapes: Vec::new(),
        routes: Vec::new(),
        verifier: Arc::new(Verifier::new(&settings).expect("no keys are wrong")),
        policy: Arc::new(Policy::new(&settings.grants)),
        metrics: Arc::clone(metrics),
        member_counts: Arc::default(),
        retry_window: Duration::ZERO,
    };
    let settings = hub::Settings { shards: 1, ..Default::default() };
    let instance = "k3f5a2bq".parse().expect("a legal id");
    Hub::start(instance, settings, shard_config).expect("a thread starts").0
}

fn keys() -> ApiKeys {
    let key = |name: &str, secret: &str, groups: &str, allow: &[Right]| ApiKeySettings {
        name: name.to_owned(),
        secret: secret.to_owned(),
        groups: vec![GroupPattern::parse(groups).expect("a legal pattern")],
        allow: allow.to_vec(),
    };
    let keys = [
        key("shop", SHOP, "*", &Right::ALL),
        key("orders", ORDERS, "pedido.*", &[Right::Send, Right::Members, Right::Read]),
        key("audit", AUDIT, "pedido.*", &[Right::Read]),
    ];
    ApiKeys::new(&keys).expect("legal keys")
}

/// A request of the shop.
fn request(method: &str, uri: &str) -> axum::http::request::Builder {
    request_of(SHOP, method, uri)
}

fn request_of(key: &str, method: &str, uri: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(uri).header("authorization", format!("Bearer {key}"))
}

fn post(uri: &str, body: impl Into<Body>) -> Request<Body> {
    request("POST", uri)
        .header("content-type", "application/json")
        .body(body.into())
        .expect("a legal request")
}

fn empty(builder: axum::http::request::Builder) -> Request<Body> {
    builder.body(Body::empty()).expect("a legal request")
}

impl Gateway {
    async fn call(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response =
            self.router.clone().oneshot(request).await.expect("the router answers everything");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 24).await.expect("a whole body");
        let json = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).expect("every body is JSON"),
        };
        let answer = Answer { status: parts.status, headers: parts.headers, json };
        answer.check(&method, &path);
        answer
    }

    /// The one publication in the inbox.
    fn publication(&mut self) -> Arc<Publication> {
        let Some(Incoming::Publication(publication)) = self.inbox.try_recv() else {
            panic!("a publication has arrived");
        };
        assert!(self.inbox.try_recv().is_none(), "only one has");
        publication
    }

    fn change(&mut self) -> Control {
        let Some(Incoming::Control(control, _)) = self.inbox.try_recv() else {
            panic!("a change has arrived");
        };
        control
    }

    fn is_untouched(&mut self) -> bool {
        self.inbox.try_recv().is_none()
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    fn detail(&self) -> &str {
        self.json["detail"].as_str().unwrap_or_default()
    }

    /// Holds the answer to the description: its status is documented, a refusal is a problem.
    fn check(&self, method: &str, path: &str) {
        let status = self.status.as_str();
        match operation(method, path) {
            Some(operation) => {
                let known = &operation["responses"][status];
                assert!(known.is_object(), "{method} {path} answered {status}: not documented");
            }
            None => assert!(matches!(status, "404" | "405"), "{method} {path}: {status}"),
        }
        assert!(self.headers.contains_key("x-request-id"), "{method} {path}");
        if self.status.is_success() {
            return;
        }
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.json);
        let members: Vec<_> = self.json.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["code", "detail", "status", "title", "type"]);
        assert_eq!(self.json["status"], self.status.as_u16());
        assert_eq!(self.json["type"], format!("urn:problem-type:groupcast:{}", self.code()));
    }
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let json = openapi::Document::openapi().to_json().expect("a document");
    serde_json::from_str(&json).expect("JSON")
});

/// The description of a request.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let fits = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(t, p)| t == p || t.starts_with('{'))
    };
    let (_, item) = paths.iter().find(|(template, _)| fits(template))?;
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
    item.get(method)
}
