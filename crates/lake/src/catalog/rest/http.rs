//! Requests to a REST catalog: addresses, headers, time limits, and what may be said about a request that failed.

use super::token::Tokens;
use super::wire::{ErrorAnswer, ErrorBody};
use k2_model::retry::Backoff;
use k2_model::{Class, Error, Result};
pub(super) use reqwest::Method;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Duration;
use url::Url;

/// A read is tried so often; the caller's own loop has more patience.
const READ_ATTEMPTS: usize = 4;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The version of the REST specification that we speak.
const SPEC_VERSION: &str = "0.14.1";

/// How much of a server's words goes into a message.
const WORDS: usize = 400;

#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    base: Url,
    prefix: String,
    nessie: bool,
    headers: HeaderMap,
    tokens: Tokens,
}

/// What is known about a request.
pub(super) enum Outcome {
    /// There is an answer.
    Answered(Answer),
    /// It never left this process.
    NotSent(Error),
    /// It left, and no answer that can be read came back.
    Unclear(Error),
}

impl Outcome {
    /// For requests where an unclear end is an error like others, of [`Class::Unknown`].
    pub(super) fn into_answer(self) -> Result<Answer> {
        match self {
            Self::Answered(answer) => Ok(answer),
            Self::NotSent(e) | Self::Unclear(e) => Err(e),
        }
    }
}

/// An answer with its body.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The token was not accepted; the next request carries a new one.
    pub(super) token_renewed: bool,
    /// What the server's clock said (ms since 1970, to the second), if it told.
    pub(super) server_time: Option<i64>,
    redirect: Option<String>,
    body: Vec<u8>,
}

impl Http {
    pub(super) fn new(uri: &str, properties: &HashMap<String, String>, timeout: Duration) -> Result<Self> {
        let base = Url::parse(uri).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
        let base = base.ok_or_else(|| {
            Error::config("catalog.uri is no http:// or https:// URL")
                .at(super::without_secrets(uri))
                .fix("a REST catalog's uri ends before /v1")
        })?;
        if properties.get("rest.sigv4-enabled").is_some_and(|v| v == "true") {
            return Err(Error::config("the REST catalog wants requests signed with AWS SigV4, which K2 cannot do yet")
                .fix("use a catalog endpoint with OAuth2 or a token"));
        }
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT_WITHIN.min(timeout))
            // a redirected POST becomes a GET: a commit would look like a success
            .redirect(Policy::none())
            .user_agent(concat!("k2/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::config("cannot set up the HTTP client").caused_by(e))?;
        Ok(Self {
            client,
            // sent as the server gave it: it may be encoded already
            prefix: properties.get("prefix").map(|p| p.trim_matches('/').to_owned()).unwrap_or_default(),
            nessie: properties.get("nessie.is-nessie-catalog").is_some_and(|v| v == "true"),
            headers: headers(properties)?,
            tokens: Tokens::new(&base, properties)?,
            base,
        })
    }

    /// An address below `/v1/{prefix}/`.
    pub(super) fn url(&self, segments: &[&str]) -> Result<Url> {
        self.below(&self.prefix, segments)
    }

    /// The address that a commit on this base goes to.
    ///
    /// Nessie does not check that a table has *no* snapshot where the request asserts it: two first commits would
    /// both be taken, and the second would drop the first one's rows. But it takes the version of its own history
    /// that a change is based on, `branch@version`, and refuses the change if the table has moved since.
    pub(super) fn commit_url(&self, segments: &[&str], base: &HashMap<String, String>) -> Result<Url> {
        match base.get("nessie.commit.id").filter(|_| self.nessie && !self.prefix.contains('@')) {
            Some(version) => self.below(&at_version(&self.prefix, version), segments),
            None => self.url(segments),
        }
    }

    fn below(&self, prefix: &str, segments: &[&str]) -> Result<Url> {
        let mut base = self.unprefixed(&["v1"])?;
        if !prefix.is_empty() {
            let path = format!("{}/{prefix}", base.path().trim_end_matches('/'));
            base.set_path(&path);
        }
        extend(base, segments)
    }

    pub(super) fn unprefixed(&self, segments: &[&str]) -> Result<Url> {
        extend(self.base.clone(), segments)
    }

    /// A GET, tried again where that may help. An answer of any status is an answer.
    pub(super) async fn read(&self, mut url: Url, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Result<Answer> {
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut attempt = 0;
        loop {
            attempt += 1;
            let sent = self.send::<()>(Method::GET, url.clone(), headers, None).await;
            let may_help = match &sent {
                Outcome::Answered(answer) => answer.token_renewed || answer.is_passing(),
                Outcome::NotSent(e) | Outcome::Unclear(e) => e.class() != Class::Config,
            };
            if attempt == READ_ATTEMPTS || !may_help {
                // a read that failed has changed nothing
                return sent.into_answer().map_err(|e| match e.class() {
                    Class::Unknown => e.with_class(Class::Retry),
                    _ => e,
                });
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// One request, sent once.
    pub(super) async fn send<B: Serialize + Sync>(
        &self,
        method: Method,
        url: Url,
        headers: &[(&str, &str)],
        body: Option<&B>,
    ) -> Outcome {
        let bearer = match self.tokens.current(&self.client).await {
            Ok(bearer) => bearer,
            Err(e) => return Outcome::NotSent(e),
        };
        let mut request = self.client.request(method, url.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // the configured ones win
        request = request.headers(self.headers.clone());
        if let Some(bearer) = &bearer {
            request = request.header("authorization", bearer.clone());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(e) => return failed(e, &url),
        };
        let status = answer.status();
        let header = |name| answer.headers().get(name).and_then(|v| v.to_str().ok());
        let redirect = header(LOCATION).map(str::to_owned);
        let date = header(DATE).and_then(|text| chrono::DateTime::parse_from_rfc2822(text).ok());
        let server_time = date.map(|date| date.timestamp_millis());
        let body = match answer.bytes().await {
            Ok(body) => body.to_vec(),
            // the status stands without its words, but a success whose content is lost is none
            Err(_) if !status.is_success() => Vec::new(),
            Err(e) => return failed(e, &url),
        };
        let refused = matches!(status.as_u16(), 401 | 419);
        let token_renewed = refused && self.tokens.refused(bearer.as_ref()).await;
        Outcome::Answered(Answer { status: status.as_u16(), token_renewed, server_time, redirect, body })
    }
}

fn failed(e: reqwest::Error, url: &Url) -> Outcome {
    let (not_sent, timeout) = (e.is_connect() || e.is_builder(), e.is_timeout());
    let at = super::without_secrets(url.as_str());
    // the URL is told as the place, without its parameters
    let e = e.without_url();
    if not_sent {
        let error = Error::retry("the catalog cannot be reached").at(at).caused_by(e);
        return Outcome::NotSent(error.fix("check catalog.uri and that the catalog is running"));
    }
    let what = if timeout { "the catalog did not answer in time" } else { "the connection to the catalog broke" };
    Outcome::Unclear(Error::unknown(what).at(at).caused_by(e))
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the same request may do better in a moment.
    fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500..=599)
    }

    /// A 404 that a catalog gave, not a web server that knows nothing of catalogs.
    pub(super) fn says_missing(&self) -> bool {
        self.status == 404 && self.error_body().is_some()
    }

    fn error_body(&self) -> Option<ErrorBody> {
        serde_json::from_slice::<ErrorAnswer>(&self.body).ok().map(|answer| answer.error)
    }

    pub(super) fn json<T: DeserializeOwned>(&self, of: &str) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Error::retry(format!("the catalog's answer cannot be read as a {of}")).caused_by(e))
    }

    /// The error this answer stands for, in the class that its status has for a request that changes nothing.
    pub(super) fn into_error(self, what: &str) -> Error {
        let status = StatusCode::from_u16(self.status).map_or_else(|_| self.status.to_string(), |s| s.to_string());
        let words = match self.error_body() {
            Some(ErrorBody { message, kind }) => {
                let kind = kind.filter(|k| !k.is_empty()).map(|k| format!("{k}: ")).unwrap_or_default();
                format!("{kind}{}", message.unwrap_or_default())
            }
            None => String::from_utf8_lossy(&self.body).into_owned(),
        };
        let words: String = words.trim().chars().take(WORDS).collect();
        let cause = if words.is_empty() { status } else { format!("{status}: {words}") };
        let error = Error::new(Class::Unknown, what).caused_by(cause);
        match self.status {
            401 | 403 | 419 => {
                error.with_class(Class::Config).fix("check token or credential in catalog.properties and its rights")
            }
            300..=399 => error.with_class(Class::Config).fix(format!(
                "set catalog.uri to where the server points: {}",
                super::without_secrets(self.redirect.as_deref().unwrap_or("(it does not say)"))
            )),
            404 => error.with_class(Class::Config).fix("check catalog.uri (it ends before /v1), warehouse and prefix"),
            400 | 405 | 406 | 415 | 422 => error.with_class(Class::Config),
            409 => error.with_class(Class::ReRead),
            _ => error.with_class(Class::Retry),
        }
    }
}

/// Nessie's prefix is `branch|warehouse`, encoded or not.
fn at_version(prefix: &str, version: &str) -> String {
    let end = ["%7C", "%7c", "|"].iter().filter_map(|bar| prefix.find(bar)).min().unwrap_or(prefix.len());
    format!("{}@{version}{}", &prefix[..end], &prefix[end..])
}

fn extend(mut url: Url, segments: &[&str]) -> Result<Url> {
    url.path_segments_mut()
        .map_err(|()| Error::config("catalog.uri is no http:// or https:// URL"))?
        .pop_if_empty()
        .extend(segments);
    Ok(url)
}

fn headers(properties: &HashMap<String, String>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("application/json"));
    headers.insert("x-client-version", HeaderValue::from_static(SPEC_VERSION));
    for (name, value) in properties.iter().filter_map(|(k, v)| k.strip_prefix("header.").map(|name| (name, v))) {
        let bad = || Error::config(format!("catalog property header.{name} makes no HTTP header"));
        let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
    }
    Ok(headers)
}
