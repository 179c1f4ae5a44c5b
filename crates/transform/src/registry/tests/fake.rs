//! A registry that does what a test tells it to.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A request that came in.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Seen {
    pub(in crate::registry) path: String,
    pub(in crate::registry) headers: HeaderMap,
    pub(in crate::registry) at: Instant,
}

impl Seen {
    pub(in crate::registry) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Reply {
    pub(in crate::registry) status: u16,
    pub(in crate::registry) body: String,
    pub(in crate::registry) delay: Duration,
    pub(in crate::registry) header: Option<(&'static str, String)>,
}

pub(in crate::registry) fn reply(status: u16, body: impl Into<String>) -> Reply {
    Reply { status, body: body.into(), delay: Duration::ZERO, header: None }
}

/// The clear answer.
pub(in crate::registry) fn unknown() -> Reply {
    reply(404, r#"{"error_code":40403,"message":"Schema not found"}"#)
}

/// A record of one field.
pub(in crate::registry) fn record() -> Reply {
    schema(r#"{"type":"record","name":"R","fields":[{"name":"x","type":"int"}]}"#)
}

pub(in crate::registry) fn schema(text: &str) -> Reply {
    reply(200, serde_json::json!({ "schema": text }).to_string())
}

impl Reply {
    pub(in crate::registry) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

#[derive(Clone)]
struct Shared {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// By path: how many requests are under way, and how many were at most.
    flying: Arc<Mutex<HashMap<String, (usize, usize)>>>,
}

/// The server; gone when dropped.
pub(in crate::registry) struct Fake {
    pub(in crate::registry) uri: String,
    shared: Shared,
    _task: JoinSet<()>,
}

impl Fake {
    /// The script gets the request and how many to the same path came before it.
    pub(in crate::registry) async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script).await
    }

    pub(in crate::registry) async fn start_at(
        address: SocketAddr,
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared { script: Arc::new(script), seen: Arc::default(), flying: Arc::default() };
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(shared.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { uri, shared, _task: task }
    }

    /// All requests so far.
    pub(in crate::registry) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many asked for an id.
    pub(in crate::registry) fn asked(&self, id: i32) -> usize {
        let path = format!("/schemas/ids/{id}");
        self.seen().iter().filter(|seen| seen.path == path).count()
    }

    /// The most requests for one path at the same time.
    pub(in crate::registry) fn most_at_once(&self) -> usize {
        self.shared.flying.lock().unwrap().values().map(|(_, most)| *most).max().unwrap_or_default()
    }
}

async fn answer(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let path = request.uri().path_and_query().unwrap().to_string();
    let seen = Seen { path: path.clone(), headers: request.headers().clone(), at: Instant::now() };
    let before = {
        let mut all = shared.seen.lock().unwrap();
        let before = all.iter().filter(|other| other.path == path).count();
        all.push(seen.clone());
        before
    };
    {
        let mut flying = shared.flying.lock().unwrap();
        let (now, most) = flying.entry(path.clone()).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }
    let reply = (shared.script)(&seen, before);
    tokio::time::sleep(reply.delay).await;
    shared.flying.lock().unwrap().get_mut(&path).unwrap().0 -= 1;
    let mut response = Response::builder().status(reply.status);
    if let Some((name, value)) = reply.header {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}

/// An address where nobody listens.
pub(in crate::registry) fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
