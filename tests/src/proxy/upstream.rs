//! The server behind a proxy.

use super::http::{Answer, Request};

/// It, by its URL.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    uri: String,
    client: reqwest::Client,
}

impl Upstream {
    pub(super) fn new(uri: &str) -> Self {
        Self { uri: uri.trim_end_matches('/').to_owned(), client: reqwest::Client::new() }
    }

    /// Asks it the same; none if it gives no answer.
    pub(super) async fn ask(&self, request: Request) -> Option<Answer> {
        let method = request.method.parse().unwrap();
        let mut ask = self.client.request(method, format!("{}{}", self.uri, request.target)).body(request.body);
        for (name, value) in request.headers {
            if !["host", "connection", "content-length"].contains(&name.as_str()) {
                ask = ask.header(name, value);
            }
        }
        let answer = ask.send().await.ok()?;
        let content_type = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (status, content_type) = (answer.status().as_u16(), content_type.to_owned());
        Some(Answer { status, content_type, body: answer.bytes().await.ok()?.to_vec() })
    }
}
