//! How many records of a silver pipeline go to its DLQ table: in all, and of those received in the last hour.
//!
//! Counted from the manifests where the bounds of a file say all there is to know, and by reading one column of the files
//! where they do not: those of an hour ago, and those that hold rejects of several topics.

use super::Standing;
use crate::config::{Config, Pipeline, Silver};
use crate::connect;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{DataContentType, DataFile, Datum, PrimitiveLiteral};
use iceberg::table::Table;
use k2_lake::catalog::Catalog;
use k2_lake::decision::Head;
use k2_lake::decision::settle::{Verdict, judge};
use k2_lake::store::iceberg_error;
use k2_model::{Intent, Result, SourceId, clock};
use serde::Serialize;
use std::collections::HashSet;

/// One hour, in µs.
const HOUR: i64 = 3_600_000_000;

/// The rejects of one silver pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rejects {
    /// The pipeline.
    pub pipeline: String,
    /// Its DLQ table.
    pub dlq: String,
    /// Silver commits whose rejects are not in the DLQ table yet.
    pub pending: u64,
    /// These rejects.
    pub pending_rows: u64,
    /// Rejects of the pipeline in the DLQ table.
    pub rows: u64,
    /// Of all its records, 0 to 1; none: there are no records.
    pub rate: Option<f64>,
    /// Rejects among the records received in the last hour.
    pub last_hour: u64,
    /// Of all records received in the last hour.
    pub last_hour_rate: Option<f64>,
    /// What to make of it.
    pub level: RateLevel,
}

/// What to make of the DLQ rate of the last hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateLevel {
    /// Below 0.1 %, or nothing came.
    Healthy,
    /// Between.
    Raised,
    /// Above 1 %.
    Alert,
}

impl RateLevel {
    fn of(rate: Option<f64>) -> Self {
        match rate {
            Some(rate) if rate > 0.01 => Self::Alert,
            Some(rate) if rate >= 0.001 => Self::Raised,
            _ => Self::Healthy,
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Raised => "raised",
            Self::Alert => "alert",
        }
    }
}

/// The share of rejects in all records.
fn rate(rejects: u64, silver: u64) -> Option<f64> {
    // a figure for people: rounding is no matter
    #[allow(clippy::cast_precision_loss)]
    (rejects + silver > 0).then(|| rejects as f64 / (rejects + silver) as f64)
}

/// Counts. `silver`: the silver table; the DLQ table is loaded after it, so that an intent is not told as pending which is
/// not.
pub(super) async fn rejects(
    config: &Config,
    catalog: &dyn Catalog,
    pipeline: &Pipeline,
    settings: &Silver,
    silver: Option<&Table>,
    standing: &Standing,
) -> Result<Rejects> {
    let ident = connect::ident(config, &settings.dlq)?;
    let dlq = catalog.load(&ident).await?;
    let place = |e: k2_model::Error| e.at(format!("table {ident}"));
    let pending = pending(standing, dlq.as_ref(), &SourceId::new(pipeline.group.as_str())).map_err(place)?;
    let since = clock::now_micros() - HOUR;
    let (mut rows, mut last_hour) = (0, 0);
    if let Some(dlq) = &dlq {
        let of_topic = Wanted { topic: Some(("kafka_topic", &pipeline.topic)), since: None };
        rows = of_topic.count(dlq).await.map_err(place)?;
        let of_hour = Wanted { since: Some(("ingestion_timestamp", since)), ..of_topic };
        last_hour = of_hour.count(dlq).await.map_err(place)?;
    }
    let (mut trades, mut of_last_hour) = (0, 0);
    if let Some(silver) = silver {
        let place = |e: k2_model::Error| e.at(format!("table {}", pipeline.table));
        trades = Wanted { topic: None, since: None }.count(silver).await.map_err(place)?;
        let received = Wanted { topic: None, since: Some(("bronze_ingestion_timestamp", since)) };
        of_last_hour = received.count(silver).await.map_err(place)?;
    }
    let last_hour_rate = rate(last_hour, of_last_hour);
    Ok(Rejects {
        pipeline: pipeline.name.clone(),
        dlq: settings.dlq.clone(),
        pending: pending.len() as u64,
        pending_rows: pending.iter().map(|i| i.rows).sum(),
        rows,
        rate: rate(rows, trades),
        last_hour,
        last_hour_rate,
        level: RateLevel::of(last_hour_rate),
    })
}

/// The intents that are not known to be in the DLQ table.
fn pending<'a>(standing: &'a Standing, dlq: Option<&Table>, source: &SourceId) -> Result<Vec<&'a Intent>> {
    let Some(state) = &standing.state else { return Ok(Vec::new()) };
    let head = dlq.map(|table| Head::of(table.metadata(), source)).transpose()?;
    let applied = |intent: &&Intent| match &head {
        Some(head) => matches!(judge(head, &state.cluster_id, intent), Ok(Verdict::Applied)),
        None => false,
    };
    Ok(state.intents.iter().filter(|intent| !applied(intent)).collect())
}

/// Which rows are counted.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    /// Those of a topic, by this column.
    topic: Option<(&'a str, &'a str)>,
    /// Those from a time on (µs), by this column.
    since: Option<(&'a str, i64)>,
}

/// What the bounds of a file say of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    None,
    Some,
    All,
}

impl Wanted<'_> {
    async fn count(&self, table: &Table) -> Result<u64> {
        let Some(snapshot) = table.metadata().current_snapshot() else { return Ok(0) };
        let failed = |what: &'static str| move |e: iceberg::Error| iceberg_error(what, e);
        let list =
            table.manifest_list_reader(snapshot).load().await.map_err(failed("cannot read the manifest list"))?;
        let (mut rows, mut open, mut deletes) = (0, HashSet::new(), false);
        for manifest in list.entries() {
            let content = manifest.load_manifest(table.file_io()).await.map_err(failed("cannot read a manifest"))?;
            for file in content.entries().iter().filter(|e| e.is_alive()).map(|e| e.data_file()) {
                if file.content_type() != DataContentType::Data {
                    deletes = true;
                    continue;
                }
                match self.share(table, file) {
                    Share::None => {}
                    Share::All => rows += file.record_count(),
                    Share::Some => drop(open.insert(file.file_path().to_owned())),
                }
            }
        }
        match deletes {
            // other engines have deleted rows: only reading tells
            true => self.read(table, None).await,
            false if open.is_empty() => Ok(rows),
            false => Ok(rows + self.read(table, Some(&open)).await?),
        }
    }

    fn share(&self, table: &Table, file: &DataFile) -> Share {
        let bounds = |column: &str| {
            let id = table.metadata().current_schema().field_id_by_name(column)?;
            Some((file.lower_bounds().get(&id)?.literal(), file.upper_bounds().get(&id)?.literal()))
        };
        let topic = self.topic.map_or(Share::All, |(column, topic)| match bounds(column) {
            Some((PrimitiveLiteral::String(lower), PrimitiveLiteral::String(upper))) => match () {
                () if lower == topic && upper == topic => Share::All,
                () if lower.as_str() > topic || upper.as_str() < topic => Share::None,
                () => Share::Some,
            },
            _ => Share::Some,
        });
        let time = self.since.map_or(Share::All, |(column, since)| match bounds(column) {
            Some((PrimitiveLiteral::Long(lower), _)) if *lower >= since => Share::All,
            Some((_, PrimitiveLiteral::Long(upper))) if *upper < since => Share::None,
            _ => Share::Some,
        });
        topic.min(time)
    }

    /// Counts rows by reading, in these files or in all.
    async fn read(&self, table: &Table, files: Option<&HashSet<String>>) -> Result<u64> {
        let failed = |e| iceberg_error("cannot read the table", e);
        let topic = self.topic.map(|(column, topic)| Reference::new(column).equal_to(Datum::string(topic)));
        let since = self
            .since
            .map(|(column, since)| Reference::new(column).greater_than_or_equal_to(Datum::timestamptz_micros(since)));
        let filter = topic.into_iter().chain(since).fold(Predicate::AlwaysTrue, Predicate::and);
        let column =
            self.since.or(self.topic.map(|(column, _)| (column, 0))).map_or("kafka_offset", |(column, _)| column);
        let scan = table.scan().with_filter(filter).select([column]).build().map_err(failed)?;
        let tasks: Vec<_> = scan.plan_files().await.map_err(failed)?.try_collect().await.map_err(failed)?;
        let tasks = tasks.into_iter().filter(|task| files.is_none_or(|files| files.contains(&task.data_file_path)));
        let tasks = stream::iter(tasks.map(Ok).collect::<Vec<_>>()).boxed();
        let reader = table.reader_builder().with_row_group_filtering_enabled(true).build();
        let mut batches = reader.read(tasks).map_err(failed)?.stream();
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            rows += u64::try_from(batch.num_rows()).unwrap_or(0);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;
    use crate::verify::trio::{DLQ, KRAKEN, SILVER, Trio};

    async fn counted(trio: &Trio) -> Rejects {
        let pipeline = trio.pipeline("silver-binance");
        let silver = trio.table(SILVER).await;
        let standing = super::super::standing(silver.metadata(), &SourceId::new(pipeline.group.as_str())).unwrap();
        let settings = pipeline.silver().unwrap();
        rejects(&trio.config, trio.catalog.as_ref(), pipeline, settings, Some(&silver), &standing).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rejects_are_counted_by_pipeline_and_hour() {
        let mut trio = Trio::new().await;
        assert_eq!((counted(&trio).await.rows, counted(&trio).await.rate), (0, None));
        // two hours ago, of two pipelines; then now
        trio.received_at -= 2 * HOUR;
        trio.silver(&[(0, 0, 10)], &(0..9).map(|o| (0, o)).collect::<Vec<_>>(), &[(0, 9)]).await;
        trio.silver_of("silver-kraken", &[(0, 0, 9)], &[], &[(0, 1), (0, 2), (0, 3)]).await;
        trio.settle().await;
        trio.received_at += 2 * HOUR;
        trio.silver(&[(0, 10, 13)], &[(0, 10), (0, 11)], &[(0, 12)]).await;
        trio.settle().await;
        trio.silver(&[(0, 13, 20)], &[(0, 13)], &[(0, 14), (0, 15)]).await;
        let now = counted(&trio).await;
        assert_eq!((now.rows, now.rate), (2, Some(2.0 / 14.0)));
        assert_eq!((now.last_hour, now.last_hour_rate), (1, Some(0.25)));
        assert_eq!((now.pending, now.pending_rows, now.level), (1, 2, RateLevel::Alert));

        // a file with rows of both sides of the hour, and one with rows of several topics, are read
        let path = |f: &DataFile| f.file_path().to_owned();
        let dlq = trio.table(DLQ).await;
        let mixed = Wanted { topic: Some(("kafka_topic", KRAKEN)), since: None };
        assert_eq!(mixed.count(&dlq).await.unwrap(), 3);
        assert_eq!(mixed.read(&dlq, None).await.unwrap(), 3);
        let kraken = trio.files(DLQ, KRAKEN, &[(0, 4)]).await;
        assert_eq!(mixed.read(&dlq, Some(&kraken.iter().map(path).collect())).await.unwrap(), 0);
        let since = Wanted { since: Some(("ingestion_timestamp", trio.received_at - HOUR)), topic: None };
        assert_eq!(since.read(&dlq, None).await.unwrap(), 1);
        let silver = trio.table(SILVER).await;
        let since = Wanted { since: Some(("bronze_ingestion_timestamp", trio.received_at - HOUR)), topic: None };
        assert_eq!(since.read(&silver, None).await.unwrap(), 3);
        assert_eq!(Wanted { topic: None, since: None }.read(&silver, None).await.unwrap(), 12);
    }

    #[test]
    fn levels_are_those_of_the_contract() {
        let level = |rejects, silver| RateLevel::of(rate(rejects, silver));
        assert_eq!(rate(0, 0), None);
        assert_eq!(rate(1, 3), Some(0.25));
        assert_eq!(level(0, 0), RateLevel::Healthy);
        assert_eq!(level(9, 9_991), RateLevel::Healthy);
        assert_eq!(level(10, 9_990), RateLevel::Raised);
        assert_eq!(level(100, 9_900), RateLevel::Raised);
        assert_eq!(level(101, 9_899), RateLevel::Alert);
    }
}
