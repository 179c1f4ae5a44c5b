//! The REST catalog: Iceberg's protocol, with our own client.
//!
//! iceberg's own client has no timeout, reloads the table before it commits, and cannot tell «refused» from «unknown».
//!
//! A read is retried a few times. A commit is sent once: what its answer means is in [`commit_failure`].

mod http;
mod token;
mod wire;

use super::{Catalog, CatalogConfig, CommitFailure, namespace_ident, requirements, without_secrets};
use crate::store::{Secret, Stores, iceberg_error, relevant_vended};
use async_trait::async_trait;
use http::{Answer, Http, Method, Outcome};
use iceberg::table::Table;
use iceberg::{Runtime, TableCreation, TableIdent, TableUpdate};
use k2_model::{Class, Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use wire::{CommitTable, CommittedTable, ConfigAnswer, CreateNamespace, CreateTable, LoadedTable, NamespaceNames};

/// See the module.
#[derive(Debug)]
pub(super) struct RestCatalog {
    http: Http,
    shown: String,
    stores: Stores,
    lent: Mutex<HashMap<TableIdent, Lent>>,
    /// Whether to ask for temporary keys: not where the configuration has keys.
    wants_keys: bool,
    runtime: Runtime,
}

/// The stores of a table whose catalog lends keys, kept while it lends the same ones: connections live in them.
#[derive(Debug)]
struct Lent {
    keys: BTreeMap<String, Secret>,
    stores: Stores,
}

impl RestCatalog {
    pub(super) async fn connect(config: &CatalogConfig, stores: &Stores) -> Result<Self> {
        let shown = format!("REST catalog {} at {}", config.name, without_secrets(&config.uri));
        let http = Self::configure(config).await.map_err(|e| e.at(shown.clone()))?;
        Ok(Self {
            http,
            shown,
            stores: stores.clone(),
            lent: Mutex::default(),
            wants_keys: stores.config().access_key.is_none(),
            runtime: Runtime::try_current().map_err(|e| iceberg_error("cannot open the catalog", e))?,
        })
    }

    /// Asks the catalog how it wants to be spoken to: its defaults, then our properties, then its overrides.
    async fn configure(config: &CatalogConfig) -> Result<Http> {
        let ours: HashMap<_, _> = config.properties.clone().into_iter().collect();
        let http = Http::new(&config.uri, &ours, config.request_timeout)?;
        let query: &[(&str, &str)] =
            if config.warehouse.is_empty() { &[] } else { &[("warehouse", config.warehouse.as_str())] };
        let answer = http.read(http.unprefixed(&["v1", "config"])?, query, &[]).await?;
        if !answer.is_success() {
            return Err(answer.into_error("the catalog does not give its configuration"));
        }
        let ConfigAnswer { defaults, overrides } = answer.json("configuration")?;
        let mut properties: HashMap<_, _> = wire::texts(defaults).collect();
        properties.extend(ours);
        properties.extend(wire::texts(overrides));
        let uri = properties.remove("uri").unwrap_or_else(|| config.uri.clone());
        Http::new(&uri, &properties, config.request_timeout)
    }

    fn namespace_path<'a>(joined: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
        [&["namespaces", joined], rest].concat()
    }

    fn table(&self, ident: TableIdent, loaded: LoadedTable) -> Result<Table> {
        let stores = self.borrow_keys(&ident, loaded.keys());
        let mut table = Table::builder()
            .file_io(stores.file_io())
            .identifier(ident)
            .metadata(loaded.metadata)
            .runtime(self.runtime.clone());
        if let Some(location) = loaded.metadata_location {
            table = table.metadata_location(location);
        }
        table.build().map_err(|e| iceberg_error("cannot open the table", e))
    }

    fn borrow_keys(&self, table: &TableIdent, config: HashMap<String, String>) -> Stores {
        let keys = relevant_vended(&config);
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.is_empty() {
            lent.remove(table);
            return self.stores.clone();
        }
        match lent.get(table) {
            Some(known) if known.keys == keys => known.stores.clone(),
            _ => {
                let stores = self.stores.with_vended(&keys);
                lent.insert(table.clone(), Lent { keys, stores: stores.clone() });
                stores
            }
        }
    }

    fn delegation(&self) -> &'static [(&'static str, &'static str)] {
        if self.wants_keys { &[("x-iceberg-access-delegation", "vended-credentials")] } else { &[] }
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    async fn ensure_namespace(&self, namespace: &str) -> Result<()> {
        let ident = namespace_ident(namespace)?;
        // some catalogs want the outer ones first
        for depth in 1..=ident.len() {
            let levels = ident[..depth].to_vec();
            if self.namespace_exists(&levels.join(".")).await? {
                continue;
            }
            let url = self.http.url(&["namespaces"])?;
            let request = CreateNamespace { namespace: &levels, properties: HashMap::new() };
            let answer = self.http.send(Method::POST, url, &[], Some(&request)).await.into_answer()?;
            // somebody else was faster; not every catalog says 409 then
            if !answer.is_success() && !self.namespace_exists(&levels.join(".")).await? {
                let error = answer.into_error("cannot create the namespace");
                return Err(error.at(format!("namespace {}", levels.join("."))));
            }
        }
        Ok(())
    }

    async fn namespace_exists(&self, namespace: &str) -> Result<bool> {
        let joined = namespace_ident(namespace)?.to_url_string();
        let answer = self.http.read(self.http.url(&Self::namespace_path(&joined, &[]))?, &[], &[]).await?;
        if answer.is_success() {
            return Ok(true);
        }
        if answer.says_missing() {
            return Ok(false);
        }
        Err(answer.into_error("cannot look up the namespace").at(format!("namespace {namespace}")))
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        let joined = namespace_ident(namespace)?.to_url_string();
        let mut names = Vec::new();
        let mut page: Option<String> = None;
        loop {
            let url = self.http.url(&Self::namespace_path(&joined, &["tables"]))?;
            let query: Vec<_> = page.iter().map(|token| ("pageToken", token.as_str())).collect();
            let answer = self.http.read(url, &query, &[]).await?;
            if answer.says_missing() {
                break;
            }
            if !answer.is_success() {
                return Err(answer.into_error("cannot list the tables").at(format!("namespace {namespace}")));
            }
            let NamespaceNames { identifiers, next_page_token } = answer.json("list of tables")?;
            names.extend(identifiers.into_iter().map(|table| table.name));
            match next_page_token.filter(|token| !token.is_empty() && page.as_ref() != Some(token)) {
                Some(next) => page = Some(next),
                None => break,
            }
        }
        names.sort();
        Ok(names)
    }

    async fn load(&self, table: &TableIdent) -> Result<Option<Table>> {
        let at = |e: Error| e.at(format!("table {table}"));
        let joined = table.namespace().to_url_string();
        let url = self.http.url(&Self::namespace_path(&joined, &["tables", table.name()]))?;
        let answer = self.http.read(url, &[], self.delegation()).await.map_err(at)?;
        if answer.says_missing() {
            return Ok(None);
        }
        if !answer.is_success() {
            return Err(at(answer.into_error("cannot load the table")));
        }
        let loaded = answer.json("table").map_err(at)?;
        self.table(table.clone(), loaded).map(Some).map_err(at)
    }

    async fn create(&self, namespace: &str, creation: TableCreation) -> Result<Table> {
        let ident = TableIdent::new(namespace_ident(namespace)?, creation.name.clone());
        let at = |e: Error| e.at(format!("table {ident}"));
        if let Some(table) = self.load(&ident).await? {
            return Ok(table);
        }
        let joined = ident.namespace().to_url_string();
        let url = self.http.url(&Self::namespace_path(&joined, &["tables"]))?;
        let request = CreateTable::of(creation);
        let request =
            request.map_err(|e| at(iceberg_error("the table makes no sense", e).with_class(Class::Config)))?;
        let sent = self.http.send(Method::POST, url, self.delegation(), Some(&request)).await;
        let answer = sent.into_answer().map_err(at)?;
        if answer.is_success() {
            let created = answer.json("table").map_err(|e| at(e.with_class(Class::Unknown)))?;
            return self.table(ident.clone(), created).map_err(at);
        }
        // somebody else was faster; not every catalog says 409 then
        match self.load(&ident).await? {
            Some(theirs) => Ok(theirs),
            None => Err(at(answer.into_error("cannot create the table"))),
        }
    }

    async fn commit(&self, base: &Table, updates: Vec<TableUpdate>) -> Result<Table, CommitFailure> {
        let ident = base.identifier();
        let at = |e: Error| e.at(format!("table {ident}"));
        let joined = ident.namespace().to_url_string();
        let path = Self::namespace_path(&joined, &["tables", ident.name()]);
        let url = self.http.commit_url(&path, base.metadata().properties()).map_err(CommitFailure::Refused)?;
        let stamp = updates.iter().filter_map(stamp).max();
        let request = CommitTable { identifier: ident, requirements: requirements(base), updates };
        let answer = match self.http.send(Method::POST, url, &[], Some(&request)).await {
            Outcome::Answered(answer) => answer,
            Outcome::NotSent(e) => return Err(CommitFailure::NotApplied(at(e))),
            Outcome::Unclear(e) => return Err(CommitFailure::Unknown(at(e))),
        };
        if !answer.is_success() {
            let ahead = seconds_ahead(stamp, answer.server_time);
            return Err(commit_failure(answer, ahead, at));
        }
        let committed: CommittedTable = answer.json("commit").map_err(|e| CommitFailure::Unknown(at(e)))?;
        let mut table = Table::builder()
            // keys are lent at loading, not at committing
            .file_io(base.file_io().clone())
            .identifier(ident.clone())
            .metadata(committed.metadata)
            .runtime(self.runtime.clone());
        if let Some(location) = committed.metadata_location {
            table = table.metadata_location(location);
        }
        table.build().map_err(|e| CommitFailure::Unknown(at(iceberg_error("cannot open the table", e))))
    }

    fn stores(&self, table: &TableIdent) -> Stores {
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        lent.get(table).map_or_else(|| self.stores.clone(), |lent| lent.stores.clone())
    }

    fn describe(&self) -> String {
        self.shown.clone()
    }
}

/// When the snapshot that an update adds was made, as it says (ms).
fn stamp(update: &TableUpdate) -> Option<i64> {
    match update {
        TableUpdate::AddSnapshot { snapshot } => Some(snapshot.timestamp_ms()),
        _ => None,
    }
}

/// By how much a snapshot is ahead of the server that refused it, if by more than what a slow answer makes. Servers that
/// stamp changes by their own clock let no snapshot in that is a minute ahead.
fn seconds_ahead(stamp: Option<i64>, server_time: Option<i64>) -> Option<i64> {
    let ahead = stamp?.saturating_sub(server_time?) / 1000;
    (ahead > 30).then_some(ahead)
}

/// What an answer other than success says about a commit.
///
/// | status | meaning |
/// |---|---|
/// | 409 | a requirement does not hold: conflict. The body may be empty of a type (Nessie) |
/// | 401, 419 with a renewable token | refused before it was looked at: not applied |
/// | 400, 422 for a snapshot that is ahead of the server's clock | not applied: clocks can be set right |
/// | 400, 401, 403, 404, 405, 406, 413, 415, 419, 422, 3xx | refused |
/// | 5xx, 429, anything else | unknown. A 503 or 429 may come from a gateway that had passed the request on |
fn commit_failure(answer: Answer, ahead: Option<i64>, at: impl FnOnce(Error) -> Error) -> CommitFailure {
    let status = answer.status;
    let renewed = answer.token_renewed;
    let error = at(answer.into_error("the catalog did not confirm the commit"));
    if let (400 | 422, Some(seconds)) = (status, ahead) {
        let what = format!("the catalog refused a snapshot that is {seconds} s ahead of its clock");
        let error = Error::retry(what).caused_by(error);
        return CommitFailure::NotApplied(error.fix("set the clocks of this machine and of the catalog right"));
    }
    match status {
        409 => CommitFailure::Conflict(error.with_class(Class::ReRead)),
        401 | 419 if renewed => CommitFailure::NotApplied(error.with_class(Class::Retry)),
        404 => CommitFailure::Refused(error.with_class(Class::ReRead)),
        300..=399 | 400 | 401 | 403 | 405 | 406 | 413 | 415 | 419 | 422 => CommitFailure::Refused(error),
        _ => CommitFailure::Unknown(error.with_class(Class::Unknown)),
    }
}

#[cfg(test)]
#[path = "rest/tests.rs"]
mod tests;
