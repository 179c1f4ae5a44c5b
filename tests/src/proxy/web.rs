//! A proxy before a web server, such as a schema registry, that passes everything or treats all requests alike.

use super::RUNTIME;
use super::http::{self, Answer};
use super::upstream::Upstream;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to the requests from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    Fair,
    /// They pass after so long.
    Slow(Duration),
    /// The connection is closed without an answer.
    Cut,
    /// They are never answered.
    Hang,
    /// They are answered with this status and body.
    Answer(u16, &'static str),
}

#[derive(Debug)]
struct State {
    weather: Weather,
    requests: Vec<String>,
}

/// A listening proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct WebProxy {
    listen: SocketAddr,
    path: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl WebProxy {
    /// A proxy before the server of this URL, whose path becomes part of [`Self::url`].
    pub async fn start(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let upstream = Upstream::new(&format!("{scheme}://{host}"));
        let path = format!("/{}", path.trim_end_matches('/'));
        let state = Arc::new(Mutex::new(State { weather: Weather::Fair, requests: Vec::new() }));
        let listener = RUNTIME.spawn(TcpListener::bind("127.0.0.1:0")).await.unwrap().unwrap();
        let listen = listener.local_addr().unwrap();
        let task = {
            let state = Arc::clone(&state);
            RUNTIME.spawn(async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    RUNTIME.spawn(serve(stream, upstream.clone(), Arc::clone(&state)));
                }
            })
        };
        Self { listen, path, state, task }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.listen, self.path)
    }

    /// Changes what happens to requests, from the next one on.
    pub fn set(&self, weather: Weather) {
        self.state.lock().unwrap().weather = weather;
    }

    /// The paths that were asked for so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl Drop for WebProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, upstream: Upstream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = http::read(&mut stream).await {
        let weather = {
            let mut state = state.lock().unwrap();
            state.requests.push(request.target.clone());
            state.weather.clone()
        };
        let head_only = request.method == "HEAD";
        let answer = match weather {
            Weather::Fair => upstream.ask(request).await,
            Weather::Slow(delay) => {
                tokio::time::sleep(delay).await;
                upstream.ask(request).await
            }
            Weather::Cut => None,
            Weather::Hang => std::future::pending().await,
            Weather::Answer(status, body) => Some(Answer {
                status,
                content_type: "application/vnd.schemaregistry.v1+json".into(),
                body: body.as_bytes().to_vec(),
            }),
        };
        let Some(answer) = answer else { return };
        if http::write(&mut stream, &answer, head_only).await.is_err() {
            return;
        }
    }
}
