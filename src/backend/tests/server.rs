//! A server with configurable answers that records its requests.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use hyper::HeaderMap;
use parking_lot::Mutex;
use tokio::net::TcpListener;

/// What was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Ends with the test's runtime.
pub(super) struct Server {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers the n-th request, from 0, with `answer(n)`.
    pub(super) async fn start<F>(
        answer: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        let router = Router::new().fallback(async move |request: Request| {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            let line = format!("{} {}", head.method, head.uri);
            let n = {
                let mut notes = notes.lock();
                notes.push(Asked { line, headers: head.headers, body });
                notes.len() - 1
            };
            answer(n).await
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked }
    }

    /// Answers every request alike.
    pub(super) async fn answering(status: u16, json: bool, body: &'static str) -> Self {
        Self::start(move |_| std::future::ready(response(status, json, body))).await
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

pub(super) fn response(status: u16, json: bool, body: impl Into<Body>) -> Response {
    let kind = if json { "application/json" } else { "text/html" };
    Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap()
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
