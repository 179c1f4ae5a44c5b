//! Who we are, towards a REST catalog: nobody, the bearer of a fixed token, or a client with a secret (OAuth2 client
//! credentials), whose token is renewed before it runs out.

use crate::store::Secret;
use k2_model::{Error, Result};
use reqwest::Client;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use url::Url;

/// A token is renewed this long before its end, or in the last fifth of a short life.
const AHEAD: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Tokens {
    client: Option<ClientCredential>,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct ClientCredential {
    endpoint: Url,
    id: Option<String>,
    secret: Secret,
    /// `scope`, `audience`, `resource`.
    parameters: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone)]
struct Held {
    bearer: HeaderValue,
    renew_at: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct TokenRefusal {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

impl Tokens {
    pub(super) fn new(base: &Url, properties: &HashMap<String, String>) -> Result<Self> {
        let held = match properties.get("token") {
            Some(token) => Some(Held { bearer: bearer(token)?, renew_at: None }),
            None => None,
        };
        let client = match properties.get("credential") {
            Some(credential) => Some(ClientCredential::new(base, credential, properties)?),
            None => None,
        };
        Ok(Self { client, held: Mutex::new(held) })
    }

    /// The header of the next request, if there is one to send.
    pub(super) async fn current(&self, http: &Client) -> Result<Option<HeaderValue>> {
        // held while a new token is fetched: one of us fetches, the others wait for it
        let mut held = self.held.lock().await;
        let valid = held.as_ref().filter(|h| h.renew_at.is_none_or(|at| Instant::now() < at));
        if let Some(held) = valid {
            return Ok(Some(held.bearer.clone()));
        }
        let Some(client) = &self.client else { return Ok(None) };
        let fresh = client.fetch(http).await?;
        let bearer = fresh.bearer.clone();
        *held = Some(fresh);
        Ok(Some(bearer))
    }

    /// The catalog did not accept this token. Whether the next request will carry another one.
    pub(super) async fn refused(&self, used: Option<&HeaderValue>) -> bool {
        if self.client.is_none() {
            return false;
        }
        let mut held = self.held.lock().await;
        if held.as_ref().map(|h| &h.bearer) == used {
            *held = None;
        }
        true
    }
}

impl ClientCredential {
    fn new(base: &Url, credential: &str, properties: &HashMap<String, String>) -> Result<Self> {
        let (id, secret) = match credential.split_once(':') {
            Some((id, secret)) => (Some(id.to_owned()), secret),
            None => (None, credential),
        };
        let endpoint = match properties.get("oauth2-server-uri") {
            Some(uri) if uri.contains("://") => uri.clone(),
            Some(path) => format!("{}/{}", base.as_str().trim_end_matches('/'), path.trim_start_matches('/')),
            None => format!("{}/v1/oauth/tokens", base.as_str().trim_end_matches('/')),
        };
        let endpoint = Url::parse(&endpoint)
            .map_err(|e| Error::config("catalog property oauth2-server-uri is no URL").at(endpoint).caused_by(e))?;
        let scope = properties.get("scope").cloned().unwrap_or_else(|| "catalog".into());
        let mut parameters = vec![("scope", scope)];
        for name in ["audience", "resource"] {
            parameters.extend(properties.get(name).map(|value| (name, value.clone())));
        }
        Ok(Self { endpoint, id, secret: Secret::new(secret), parameters })
    }

    async fn fetch(&self, http: &Client) -> Result<Held> {
        let at = |e: Error| e.at(self.endpoint.to_string());
        let mut form = vec![("grant_type", "client_credentials"), ("client_secret", self.secret.expose())];
        form.extend(self.id.as_deref().map(|id| ("client_id", id)));
        form.extend(self.parameters.iter().map(|(name, value)| (*name, value.as_str())));
        let body = form_urlencoded(&form);
        let request = http
            .post(self.endpoint.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(body);
        let failed =
            |e: reqwest::Error| at(Error::retry("cannot get a token for the catalog").caused_by(e.without_url()));
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let text = answer.bytes().await.map_err(failed)?;
        if !status.is_success() {
            let refusal = serde_json::from_slice::<TokenRefusal>(&text).ok();
            let why = refusal.map_or_else(
                || status.to_string(),
                |r| format!("{status}: {} {}", r.error, r.error_description.unwrap_or_default()).trim_end().to_owned(),
            );
            let error = Error::retry("cannot get a token for the catalog").caused_by(why);
            return Err(at(if status.is_server_error() || status.as_u16() == 429 {
                error
            } else {
                error
                    .with_class(k2_model::Class::Config)
                    .fix("check credential, scope and oauth2-server-uri in catalog.properties")
            }));
        }
        let token: TokenAnswer = serde_json::from_slice(&text)
            .map_err(|_| at(Error::retry("the token endpoint gives no token that can be read")))?;
        let life = token.expires_in.map(Duration::from_secs);
        Ok(Held {
            bearer: bearer(&token.access_token)?,
            renew_at: life.and_then(|life| Instant::now().checked_add(life - AHEAD.min(life / 5))),
        })
    }
}

fn bearer(token: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Error::config("the catalog's token contains characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn form_urlencoded(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}
