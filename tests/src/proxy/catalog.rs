//! A proxy before a REST catalog: each commit meets the next fault that was ordered.
//!
//! A commit is a POST to a table. Everything else passes, but for reads of tables when they are to be stale.

use super::RUNTIME;
use super::http::{self, Answer, Request};
use super::upstream::Upstream;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// It is applied, and answered with this status.
    ApplyThenAnswer(u16),
    /// It is applied, and never answered.
    ApplyThenHang,
    /// It is applied, and the connection closed without an answer.
    ApplyThenCut,
    /// The connection is closed at once; it is applied so much later.
    ApplyLate(Duration),
    /// It is not applied, and answered with this status.
    Refuse(u16),
    /// It is not applied, and the connection closed without an answer.
    Cut,
    /// It is not applied and never answered.
    Hang,
}

/// A commit that came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// What was done to it.
    pub fault: Fault,
    /// What the catalog said; none while it has not been asked, or if it never is.
    pub catalog_said: Option<u16>,
}

#[derive(Debug, Default)]
struct Script {
    next: VecDeque<Fault>,
    otherwise: Option<Fault>,
    commits: Vec<Commit>,
    /// Tables by path, as they were when the reads were frozen.
    frozen: Option<BTreeMap<String, Answer>>,
}

/// A listening proxy; it ends when it is dropped. Commits that are still to land late, land.
#[derive(Debug)]
pub struct CatalogProxy {
    listen: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl CatalogProxy {
    /// A proxy before the catalog at `uri`.
    pub async fn start(uri: &str) -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let listener = RUNTIME.spawn(TcpListener::bind("127.0.0.1:0")).await.unwrap().unwrap();
        let listen = listener.local_addr().unwrap();
        let upstream = Upstream::new(uri);
        let task = {
            let script = Arc::clone(&script);
            RUNTIME.spawn(async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    RUNTIME.spawn(serve(stream, upstream.clone(), Arc::clone(&script)));
                }
            })
        };
        Self { listen, script, task }
    }

    /// Its URL, for `catalog.uri`.
    pub fn uri(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Orders faults for the next commits, one each, after those already ordered.
    pub fn order(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script.lock().unwrap().next.extend(faults);
    }

    /// What happens to every commit for which no fault is ordered.
    pub fn otherwise(&self, fault: Fault) {
        self.script.lock().unwrap().otherwise = Some(fault);
    }

    /// The commits that came by so far, in order.
    pub fn commits(&self) -> Vec<Commit> {
        self.script.lock().unwrap().commits.clone()
    }

    /// Whether all ordered faults have been met.
    pub fn is_spent(&self) -> bool {
        self.script.lock().unwrap().next.is_empty()
    }

    /// From now on a table reads as it is at its next read, whatever is committed.
    pub fn freeze_reads(&self) {
        self.script.lock().unwrap().frozen = Some(BTreeMap::new());
    }

    /// Tables read as they are again.
    pub fn thaw_reads(&self) {
        self.script.lock().unwrap().frozen = None;
    }
}

impl Drop for CatalogProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, upstream: Upstream, script: Arc<Mutex<Script>>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = http::read(&mut stream).await {
        let head_only = request.method == "HEAD";
        let answer = if is_commit(&request) {
            commit(request, &upstream, &script).await
        } else {
            read(request, &upstream, &script).await
        };
        let Some(answer) = answer else { return };
        if http::write(&mut stream, &answer, head_only).await.is_err() {
            return;
        }
    }
}

fn is_commit(request: &Request) -> bool {
    let mut parts = request.target.split(['/', '?']).skip_while(|part| *part != "tables");
    request.method == "POST" && parts.next().is_some() && parts.next().is_some_and(|table| !table.is_empty())
}

/// The answer to a commit; none: the connection closes.
async fn commit(request: Request, upstream: &Upstream, script: &Arc<Mutex<Script>>) -> Option<Answer> {
    let (fault, number) = {
        let mut script = script.lock().unwrap();
        let fault = script.next.pop_front().or(script.otherwise).unwrap_or(Fault::Pass);
        script.commits.push(Commit { fault, catalog_said: None });
        (fault, script.commits.len() - 1)
    };
    let apply = {
        let (upstream, script) = (upstream.clone(), Arc::clone(script));
        move || async move {
            let answer = upstream.ask(request).await;
            script.lock().unwrap().commits[number].catalog_said = answer.as_ref().map(|a| a.status);
            answer
        }
    };
    match fault {
        Fault::Pass => apply().await,
        Fault::ApplyThenAnswer(status) => {
            apply().await;
            Some(failure(status))
        }
        Fault::ApplyThenHang => {
            apply().await;
            std::future::pending().await
        }
        Fault::ApplyThenCut => {
            apply().await;
            None
        }
        Fault::ApplyLate(delay) => {
            RUNTIME.spawn(async move {
                tokio::time::sleep(delay).await;
                apply().await;
            });
            None
        }
        Fault::Refuse(status) => Some(failure(status)),
        Fault::Cut => None,
        Fault::Hang => std::future::pending().await,
    }
}

/// The answer to anything but a commit.
async fn read(request: Request, upstream: &Upstream, script: &Mutex<Script>) -> Option<Answer> {
    if request.method != "GET" || !request.target.contains("/tables/") {
        return upstream.ask(request).await;
    }
    let path = request.target.clone();
    if let Some(answer) = script.lock().unwrap().frozen.as_ref().and_then(|frozen| frozen.get(&path)) {
        return Some(answer.clone());
    }
    let answer = upstream.ask(request).await?;
    if let Some(frozen) = &mut script.lock().unwrap().frozen {
        return Some(frozen.entry(path).or_insert(answer).clone());
    }
    Some(answer)
}

/// An error in the form that the REST specification gives it.
fn failure(status: u16) -> Answer {
    let kind = match status {
        409 => "CommitFailedException",
        500 | 502 | 504 => "CommitStateUnknownException",
        503 => "ServiceUnavailableException",
        _ => "ServiceFailureException",
    };
    let body = serde_json::json!({"error": {"message": "a fault that the test ordered", "type": kind, "code": status}});
    Answer { status, content_type: "application/json".into(), body: body.to_string().into_bytes() }
}
