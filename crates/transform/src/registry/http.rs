//! A registry with Confluent's API behind one or more URLs.
//!
//! A question goes to the URL that answered last; one that is no help is followed by the next. What counts as an answer
//! is decided in [`super::answer`]; here are addresses, credentials, time limits and the size limit. A short failure is
//! ridden out here (jittered, [`ATTEMPTS`]); a longer one is the caller's to wait for, visibly.

use super::answer::{self, Answer, Reference};
use super::trouble::Trouble;
use super::{Lookup, references};
use k2_model::retry::Backoff;
use k2_model::{Error, Result};
use reqwest::redirect::Policy;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use url::Url;

/// A question is asked so often, as long as the failures together took less than [`QUICK`].
const ATTEMPTS: usize = 3;
const QUICK: Duration = Duration::from_secs(1);

/// The largest answer that is read.
pub(super) const LARGEST: usize = 4 << 20;

const ACCEPT: &str =
    "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json; q=0.9, application/json; q=0.8";

/// An id that nobody has: the largest one. The question for it shows how the registry answers for unknown ids.
const NOBODYS: i32 = i32::MAX;

const FIX_CONNECT: &str = "Check registry.url, and that the registry runs and can be reached from here";
const FIX_CONNECT_TLS: &str = "Check registry.url, and that the registry runs and can be reached from here; a certificate that \
                               is signed by a CA of your own needs registry.ca_file";

/// How to reach a registry.
#[derive(Clone)]
pub struct HttpSettings {
    /// The roots of its API. Each may carry `user:password@`, percent-encoded, which counts for that URL.
    pub urls: Vec<String>,
    /// User and password, for URLs that carry none.
    pub basic: Option<(String, String)>,
    /// A token, for URLs that carry no user.
    pub bearer: Option<String>,
    /// A PEM file with CAs that are trusted besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take, connection included.
    pub request_timeout: Duration,
}

impl HttpSettings {
    /// Without credentials; 5 s for a connection, 10 s for an answer.
    pub fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            basic: None,
            bearer: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSettings")
            .field("urls", &self.urls.iter().map(|url| shown(url)).collect::<Vec<_>>())
            .field("basic", &self.basic.as_ref().map(|(user, _)| user))
            .field("bearer", &self.bearer.as_ref().map(|_| "***"))
            .field("ca_file", &self.ca_file)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

/// A URL as it may be printed.
fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            // no user and password can be taken from a URL that cannot have any
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string().trim_end_matches('/').to_owned()
        }
        Err(_) => "an address that cannot be read".into(),
    }
}

pub(super) struct Client {
    http: reqwest::Client,
    servers: Vec<Server>,
    /// The server that answered last.
    good: AtomicUsize,
}

/// One of the URLs.
pub(super) struct Server {
    /// Without user and password.
    base: Url,
    login: Login,
}

#[derive(Clone)]
enum Login {
    None,
    Basic(String, String),
    Bearer(String),
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.servers.iter().map(|s| shown(s.base.as_str())).collect();
        f.write_str(&all.join(","))
    }
}

impl Client {
    pub(super) fn new(settings: HttpSettings) -> Result<Self> {
        let general = match (&settings.basic, &settings.bearer) {
            (Some(_), Some(_)) => {
                return Err(Error::config("the schema registry has both a user and a token")
                    .fix("Set registry.user and registry.password, or registry.token"));
            }
            (Some((user, password)), None) => Login::Basic(user.clone(), password.clone()),
            (None, Some(token)) => Login::Bearer(token.clone()),
            (None, None) => Login::None,
        };
        let servers = settings.urls.iter().map(|url| Server::parse(url, &general)).collect::<Result<Vec<_>>>()?;
        if servers.is_empty() {
            return Err(Error::config("the schema registry has no address").fix("Set registry.url"));
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout.min(settings.request_timeout))
            .timeout(settings.request_timeout)
            .redirect(Policy::none())
            .user_agent(concat!("k2/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &settings.ca_file {
            let place = format!("registry.ca_file {}", file.display());
            let pem = std::fs::read(file)
                .map_err(|e| Error::config("cannot read the schema registry's CAs").at(&place).caused_by(e))?;
            let all = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|all| !all.is_empty())
                .ok_or_else(|| Error::config("this file holds no certificates in PEM form").at(&place))?;
            for certificate in all {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let http = builder
            .build()
            .map_err(|e| Error::config("cannot set up the schema registry's HTTP client").caused_by(e))?;
        Ok(Self { http, servers, good: AtomicUsize::new(0) })
    }

    /// What an id means.
    pub(super) async fn lookup(&self, id: i32) -> Result<Lookup, Trouble> {
        let began = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(400));
        let mut attempt = 1;
        loop {
            match self.lookup_once(id).await {
                Err(trouble) if attempt < ATTEMPTS && !trouble.is_refusal() && began.elapsed() < QUICK => {
                    tracing::debug!(error = %trouble.error(), "a request to the schema registry failed");
                    attempt += 1;
                    tokio::time::sleep(backoff.pause()).await;
                }
                answer => return answer,
            }
        }
    }

    async fn lookup_once(&self, id: i32) -> Result<Lookup, Trouble> {
        let first = self.good.load(Ordering::Relaxed);
        let mut troubles = Vec::new();
        for n in 0..self.servers.len() {
            let which = (first + n) % self.servers.len();
            match self.lookup_at(&self.servers[which], id).await {
                Ok(found) => {
                    self.good.store(which, Ordering::Relaxed);
                    return Ok(found);
                }
                Err(trouble) => troubles.push(trouble),
            }
        }
        Err(Trouble::of_all(troubles)
            .unwrap_or_else(|| Trouble::new("the schema registry has no address", FIX_CONNECT)))
    }

    async fn lookup_at(&self, server: &Server, id: i32) -> Result<Lookup, Trouble> {
        let id = id.to_string();
        match self.ask(server, server.url(&["schemas", "ids", &id]), answer::of_id).await? {
            Answer::Unknown => Ok(Lookup::Unknown),
            Answer::OtherKind(kind) => Ok(Lookup::NotAvro(format!("its schema is of the kind {kind}, not Avro"))),
            Answer::Avro { text, references } if references.is_empty() => Ok(Lookup::of_text(&text)),
            Answer::Avro { text, references } => Ok(match references::gather(self, server, references).await? {
                Ok(others) => match references::splice(&text, &others) {
                    Ok(whole) => Lookup::of_text(&whole),
                    Err(why) => Lookup::NotAvro(why),
                },
                Err(why) => Lookup::NotAvro(why),
            }),
        }
    }

    /// A schema that another one refers to. One that was deleted since counts: what refers to it still needs it.
    pub(super) async fn reference(&self, server: &Server, wanted: &Reference) -> Result<Answer, Trouble> {
        let version = wanted.version.to_string();
        let mut url = server.url(&["subjects", &wanted.subject, "versions", &version]);
        url.set_query(Some("deleted=true"));
        self.ask(server, url, answer::of_reference).await
    }

    /// Whether every server answers, and as K2 needs it.
    pub(super) async fn ping(&self) -> Result<String, Trouble> {
        let mut troubles = Vec::new();
        let mut subjects = None;
        for server in &self.servers {
            match self.lookup_at(server, NOBODYS).await {
                // not everybody may list; what K2 needs is the question for an id
                Ok(_) => {
                    subjects = self.ask(server, server.url(&["subjects"]), answer::of_subjects).await.ok().or(subjects)
                }
                Err(trouble) => troubles.push(trouble),
            }
        }
        if let Some(trouble) = Trouble::of_all(troubles) {
            return Err(trouble);
        }
        Ok(match subjects {
            Some(1) => "1 subject".into(),
            Some(n) => format!("{n} subjects"),
            None => "answers".into(),
        })
    }

    /// One request, sent once; `understand` gets status and body.
    async fn ask<T>(
        &self,
        server: &Server,
        url: Url,
        understand: fn(u16, &[u8]) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let place = shown(url.as_str());
        let mut request = self.http.get(url).header("accept", ACCEPT);
        request = match &server.login {
            Login::None => request,
            Login::Basic(user, password) => request.basic_auth(user, Some(password)),
            Login::Bearer(token) => request.bearer_auth(token),
        };
        let mut answer = request.send().await.map_err(|e| failed(e, server).at(&place))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| failed(e, server).at(&place))? {
            if body.len() + chunk.len() > LARGEST {
                let what = format!("the schema registry's answer is larger than {} MiB", LARGEST >> 20);
                return Err(Trouble::new(what, "Look at what registry.url leads to").at(place));
            }
            body.extend_from_slice(&chunk);
        }
        understand(answer.status().as_u16(), &body).map_err(|trouble| server.login.hidden_in(trouble).at(place))
    }
}

impl Server {
    fn parse(text: &str, general: &Login) -> Result<Self> {
        let at = || format!("registry.url {}", shown(text));
        let mut base = Url::parse(text.trim())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| Error::config("the schema registry's address is no http:// or https:// URL").at(at()))?;
        if base.query().is_some() || base.fragment().is_some() {
            return Err(Error::config("the schema registry's address goes on after its path").at(at()).fix(
                "Write the root of its API; characters such as / @ ? # in a password are written %2F %40 %3F %23",
            ));
        }
        let login = if base.username().is_empty() && base.password().is_none() {
            general.clone()
        } else {
            Login::Basic(decoded(base.username()), decoded(base.password().unwrap_or_default()))
        };
        // an http URL can have both
        let _ = base.set_username("");
        let _ = base.set_password(None);
        Ok(Self { base, login })
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

impl Login {
    /// A server that quotes our credentials does not bring them into a message.
    fn hidden_in(&self, trouble: Trouble) -> Trouble {
        match self {
            Self::Basic(_, secret) | Self::Bearer(secret) if !secret.is_empty() => trouble.hiding(secret),
            _ => trouble,
        }
    }
}

/// Undoes the percent-encoding of a part of a URL.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|hex| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        match hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn failed(error: reqwest::Error, server: &Server) -> Trouble {
    let what = if error.is_timeout() {
        "the schema registry does not answer in time"
    } else if error.is_connect() {
        "cannot connect to the schema registry"
    } else {
        "the schema registry's answer breaks off"
    };
    let fix = if server.base.scheme() == "https" { FIX_CONNECT_TLS } else { FIX_CONNECT };
    // reads the causes, each once; the URL is told as the place
    Trouble::new(Error::retry(what).caused_by(error.without_url()).to_string(), fix)
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
