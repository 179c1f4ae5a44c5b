//! A catalog that misbehaves on demand: by script, or by seeded chance with two coins per call - did it happen, and did
//! the answer arrive?

use crate::world::snapshot;
use async_trait::async_trait;
use iceberg::spec::MAIN_BRANCH;
use iceberg::table::Table;
use iceberg::{TableCreation, TableIdent, TableUpdate};
use k2_lake::catalog::{Catalog, CommitFailure};
use k2_lake::store::Stores;
use k2_model::{Error, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// What becomes of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whim {
    /// Passed on, answer and all.
    Honest,
    /// It happens if it can; the answer is lost.
    DoneUnanswered,
    /// It does not happen; the answer is lost.
    LostUnanswered,
    /// It happens if it can, and the answer is a conflict: a proxy has sent it twice.
    DoneConflict,
    /// Said not to have happened, and so it is.
    NotApplied,
    /// Refused, and it did not happen.
    Refused,
    /// Happens this many milliseconds later; the answer is lost at once.
    Late(u64),
    /// No answer ever; it happens if it can.
    DoneHangs,
    /// No answer ever; it does not happen.
    LostHangs,
    /// A catalog without a pin: applied on whatever the head is, as iceberg's own transaction does.
    Rebased,
}

/// What becomes of one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Honest,
    /// An answer out of a cache: the oldest one kept.
    Oldest,
    /// An answer out of a cache: any one kept.
    Stale,
    Retry,
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Unruly {
    inner: Arc<dyn Catalog>,
    commits: Mutex<VecDeque<Whim>>,
    looks: Mutex<VecDeque<Look>>,
    /// None: honest when the scripts are at their end.
    chance: Option<Mutex<StdRng>>,
    kept: Mutex<Vec<Table>>,
    late: Mutex<JoinSet<()>>,
    attempts: Mutex<Vec<Whim>>,
}

impl Unruly {
    fn new(inner: &Arc<dyn Catalog>, chance: Option<u64>) -> Self {
        Self {
            inner: Arc::clone(inner),
            commits: Mutex::default(),
            looks: Mutex::default(),
            chance: chance.map(|seed| Mutex::new(StdRng::seed_from_u64(seed))),
            kept: Mutex::default(),
            late: Mutex::default(),
            attempts: Mutex::default(),
        }
    }

    /// By script; honest after its end.
    pub(crate) fn scripted(inner: &Arc<dyn Catalog>, commits: &[Whim]) -> Arc<Self> {
        let it = Self::new(inner, None);
        it.commits.lock().unwrap().extend(commits);
        Arc::new(it)
    }

    /// By chance.
    pub(crate) fn seeded(inner: &Arc<dyn Catalog>, seed: u64) -> Arc<Self> {
        Arc::new(Self::new(inner, Some(seed)))
    }

    /// What the next loads will answer.
    pub(crate) fn looks(&self, looks: &[Look]) {
        self.looks.lock().unwrap().extend(looks);
    }

    /// Every commit that was tried, and what became of it.
    pub(crate) fn attempts(&self) -> Vec<Whim> {
        self.attempts.lock().unwrap().clone()
    }

    /// Waits until nothing is on its way any more.
    pub(crate) async fn settle(&self) {
        let mut late = std::mem::take(&mut *self.late.lock().unwrap());
        while late.join_next().await.is_some() {}
    }

    fn whim(&self) -> Whim {
        let scripted = self.commits.lock().unwrap().pop_front();
        let whim = scripted.unwrap_or_else(|| {
            let Some(chance) = &self.chance else { return Whim::Honest };
            let mut chance = chance.lock().unwrap();
            match chance.random_range(0..100) {
                0..50 => Whim::Honest,
                50..60 => Whim::DoneUnanswered,
                60..68 => Whim::LostUnanswered,
                68..76 => Whim::DoneConflict,
                76..80 => Whim::NotApplied,
                80..94 => Whim::Late(chance.random_range(1..150)),
                94..97 => Whim::DoneHangs,
                _ => Whim::LostHangs,
            }
        });
        self.attempts.lock().unwrap().push(whim);
        whim
    }

    fn look(&self) -> Look {
        self.looks.lock().unwrap().pop_front().unwrap_or_else(|| {
            let Some(chance) = &self.chance else { return Look::Honest };
            match chance.lock().unwrap().random_range(0..100) {
                0..75 => Look::Honest,
                75..92 => Look::Stale,
                92..96 => Look::Retry,
                _ => Look::Unknown,
            }
        })
    }

    fn kept(&self, look: Look) -> Option<Table> {
        let kept = self.kept.lock().unwrap();
        match (look, &self.chance) {
            (Look::Stale, Some(chance)) if !kept.is_empty() => {
                // the last few, as a cache would have them
                let from = kept.len().saturating_sub(4);
                Some(kept[chance.lock().unwrap().random_range(from..kept.len())].clone())
            }
            (Look::Oldest | Look::Stale, _) => kept.first().cloned(),
            _ => None,
        }
    }
}

fn lost() -> CommitFailure {
    CommitFailure::Unknown(Error::unknown("the answer was lost"))
}

#[async_trait]
impl Catalog for Unruly {
    async fn ensure_namespace(&self, namespace: &str) -> Result<()> {
        self.inner.ensure_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &str) -> Result<bool> {
        self.inner.namespace_exists(namespace).await
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        self.inner.tables(namespace).await
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<Table>> {
        let look = self.look();
        match look {
            Look::Retry => return Err(Error::retry("the catalog is busy")),
            Look::Unknown => return Err(Error::unknown("the catalog did not answer")),
            Look::Oldest | Look::Stale => {
                if let Some(table) = self.kept(look) {
                    return Ok(Some(table));
                }
            }
            Look::Honest => {}
        }
        let table = self.inner.load(ident).await?;
        self.kept.lock().unwrap().extend(table.clone());
        Ok(table)
    }

    async fn create(&self, namespace: &str, creation: TableCreation) -> Result<Table> {
        self.inner.create(namespace, creation).await
    }

    async fn commit(&self, base: &Table, updates: Vec<TableUpdate>) -> Result<Table, CommitFailure> {
        match self.whim() {
            Whim::Honest => self.inner.commit(base, updates).await,
            Whim::DoneUnanswered => {
                drop(self.inner.commit(base, updates).await);
                Err(lost())
            }
            Whim::LostUnanswered => Err(lost()),
            Whim::DoneConflict => {
                drop(self.inner.commit(base, updates).await);
                Err(CommitFailure::Conflict(Error::re_read("the table has moved")))
            }
            Whim::NotApplied => Err(CommitFailure::NotApplied(Error::retry("the catalog is busy"))),
            Whim::Refused => Err(CommitFailure::Refused(Error::config("not allowed"))),
            Whim::Late(milliseconds) => {
                let (inner, base) = (Arc::clone(&self.inner), base.clone());
                self.late.lock().unwrap().spawn(async move {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    drop(inner.commit(&base, updates).await);
                });
                Err(lost())
            }
            Whim::DoneHangs => {
                drop(self.inner.commit(base, updates).await);
                std::future::pending().await
            }
            Whim::LostHangs => std::future::pending().await,
            Whim::Rebased => {
                let head = self.inner.load(base.identifier()).await.unwrap().unwrap();
                let updates = rebased(&head, updates).await;
                self.inner.commit(&head, updates).await
            }
        }
    }

    fn stores(&self, table: &TableIdent) -> Stores {
        self.inner.stores(table)
    }

    fn describe(&self) -> String {
        format!("unruly {}", self.inner.describe())
    }
}

/// The same updates on another head: the new files are appended there, whatever it holds.
async fn rebased(head: &Table, updates: Vec<TableUpdate>) -> Vec<TableUpdate> {
    let mut out = Vec::new();
    for update in updates {
        let TableUpdate::AddSnapshot { snapshot: old } = update else {
            out.push(update);
            continue;
        };
        let id = old.snapshot_id();
        let summary = old.summary().clone();
        let list = head.manifest_list_reader(&Arc::new(old)).load().await.unwrap();
        let mut manifests: Vec<_> = list.entries().iter().filter(|m| m.added_snapshot_id == id).cloned().collect();
        if let Some(current) = head.metadata().current_snapshot() {
            manifests.extend_from_slice(head.manifest_list_reader(current).load().await.unwrap().entries());
        }
        let snapshot = snapshot(head, id, MAIN_BRANCH, &manifests, summary).await;
        out.push(TableUpdate::AddSnapshot { snapshot });
    }
    out
}
