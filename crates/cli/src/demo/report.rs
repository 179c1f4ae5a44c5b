//! The end of the demo: what `k2 verify` finds, a query through `k2 sql`, the broker's receipts against the tables, and how
//! to read the tables with something that is not K2.

use super::engine::Engine;
use super::folder::Folder;
use super::screen::{Look, Screen, grouped};
use super::{DLQ, Part, failed};
use crate::generator::producer::Ledger;
use k2_model::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::process::{ExitCode, Output};
use std::sync::Arc;

/// Exit code of a check that found something.
const FOUND: u8 = 4;

/// What is asked through `k2 sql`.
const QUERY: &str = "SELECT symbol, COUNT(*) AS trades, MIN(price) AS low, MAX(price) AS high
FROM silver_binance_trades GROUP BY symbol ORDER BY trades DESC LIMIT 5";

/// What one exchange's feed has sent.
pub(super) struct Sent {
    /// The exchange.
    pub(super) part: Part,
    /// What the broker acknowledged.
    pub(super) ledger: Arc<Ledger>,
    /// Bad records among them, by the reason that silver has to name.
    pub(super) spoiled: BTreeMap<&'static str, u64>,
}

/// One partition, as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Counted {
    kafka_partition: u16,
    row_count: u64,
    different: u64,
    first_offset: i64,
    last_offset: i64,
}

/// Prints everything; the exit code says whether the tables hold exactly what the broker acknowledged.
pub(super) async fn print(
    screen: &mut Screen,
    folder: &Folder,
    engine: &Engine,
    sent: &[Sent],
    metadata: &[String],
) -> Result<ExitCode> {
    let verified = verify(screen, engine).await?;
    query(screen, engine).await?;
    let equal = receipts(screen, engine, sent).await?;
    let routed = rejects(screen, engine, sent).await?;
    let good = verified && equal && routed;
    let verdict = if good {
        screen.styled("Nothing lost, nothing doubled, nothing in the wrong place.", Look::Good)
    } else {
        screen.styled("The tables do not hold what the broker acknowledged.", Look::Bad)
    };
    screen.line(&format!("\n{verdict}"));
    how_to_read(screen, folder, sent, metadata);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// `k2 verify`, byte for byte against what the broker still has.
async fn verify(screen: &mut Screen, engine: &Engine) -> Result<bool> {
    heading(screen, "k2 verify --kafka");
    let output = engine.tool(&["verify", "--kafka"]).await?;
    show(screen, &output);
    match output.status.code() {
        Some(0) => Ok(true),
        Some(code) if code == i32::from(FOUND) => Ok(false),
        _ => Err(Error::unknown(format!("k2 verify has failed ({})", output.status))),
    }
}

async fn query(screen: &mut Screen, engine: &Engine) -> Result<()> {
    heading(screen, &format!("k2 sql \"{QUERY}\""));
    let output = engine.tool(&["sql", QUERY]).await?;
    show(screen, &output);
    succeeded("k2 sql", &output)
}

/// Every partition's rows against what the broker acknowledged, in bronze, and in silver and DLQ together. K2's own offsets
/// play no part in it.
async fn receipts(screen: &mut Screen, engine: &Engine, sent: &[Sent]) -> Result<bool> {
    heading(screen, "the broker's receipts against the tables");
    let mut all_equal = true;
    for Sent { part, ledger, .. } in sent {
        let bronze = format!("SELECT \"partition\" AS p, \"offset\" AS o FROM market_data.{}", part.table);
        let silver = format!(
            "SELECT kafka_partition AS p, kafka_offset AS o FROM market_data.{} UNION ALL \
             SELECT kafka_partition, kafka_offset FROM market_data.{DLQ} WHERE bronze_source = '{}'",
            part.silver_table, part.table
        );
        for (place, rows) in [("bronze", bronze), ("silver + DLQ", silver)] {
            let sql = format!(
                "SELECT p AS kafka_partition, COUNT(*) AS row_count, COUNT(DISTINCT o) AS different, \
                 MIN(o) AS first_offset, MAX(o) AS last_offset FROM ({rows}) GROUP BY p"
            );
            let output = engine.tool(&["sql", "--format", "json", &sql]).await?;
            succeeded("k2 sql", &output)?;
            let counted = parse_counted(&output.stdout)?;
            let rows: u64 = counted.values().map(|c| c.row_count).sum();
            let differences = differences(ledger, &counted);
            let mark = if differences.is_empty() {
                screen.styled("equal", Look::Good)
            } else {
                screen.styled("DIFFERENT", Look::Bad)
            };
            screen.line(&format!(
                "  {:<8}{:>11} acknowledged {:>11} rows in {place:<13} {} partitions {mark}",
                part.exchange.name(),
                grouped(ledger.records()),
                grouped(rows),
                part.partitions
            ));
            for difference in &differences {
                screen.line(&format!("    {difference}"));
            }
            all_equal &= differences.is_empty();
        }
    }
    Ok(all_equal)
}

/// A reason and how many dead letters have it.
#[derive(Debug, Deserialize)]
struct Reason {
    error_reason: String,
    letters: u64,
}

/// Where the bad records went: each kind by its reason, and no good record among them.
async fn rejects(screen: &mut Screen, engine: &Engine, sent: &[Sent]) -> Result<bool> {
    heading(screen, "the bad records that were sent against the dead letters");
    let sql = format!("SELECT error_reason, COUNT(*) AS letters FROM market_data.{DLQ} GROUP BY error_reason");
    let output = engine.tool(&["sql", "--format", "json", &sql]).await?;
    succeeded("k2 sql", &output)?;
    let found: Vec<Reason> =
        serde_json::from_slice(&output.stdout).map_err(|e| failed("cannot read the answer of k2 sql", e))?;
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (reason, count) in sent.iter().flat_map(|s| &s.spoiled) {
        counts.entry(reason).or_default().0 += count;
    }
    for Reason { error_reason, letters } in &found {
        counts.entry(error_reason).or_default().1 += letters;
    }
    for (reason, (sent, letters)) in counts.iter().filter(|(_, counts)| **counts != (0, 0)) {
        let mark =
            if sent == letters { screen.styled("equal", Look::Good) } else { screen.styled("DIFFERENT", Look::Bad) };
        screen.line(&format!("  {reason:<24}{:>6} sent {:>6} in the DLQ   {mark}", grouped(*sent), grouped(*letters)));
    }
    Ok(counts.values().all(|(sent, letters)| sent == letters))
}

fn parse_counted(json: &[u8]) -> Result<BTreeMap<u16, Counted>> {
    let counted: Vec<Counted> =
        serde_json::from_slice(json).map_err(|e| failed("cannot read the answer of k2 sql --format json", e))?;
    Ok(counted.into_iter().map(|c| (c.kafka_partition, c)).collect())
}

/// Where ledger and table differ, partition by partition. Empty: nowhere.
fn differences(ledger: &Ledger, counted: &BTreeMap<u16, Counted>) -> Vec<String> {
    let mut found = Vec::new();
    for (number, delivered) in (0u16..).zip(ledger.partitions()) {
        let (records, next) = (delivered.records(), delivered.next_offset());
        match counted.get(&number) {
            None if records == 0 => {}
            None => found.push(format!("partition {number}: {records} acknowledged, no row")),
            Some(c) if c.row_count != records || c.different != records => found.push(format!(
                "partition {number}: {records} acknowledged, {} rows with {} different offsets",
                c.row_count, c.different
            )),
            Some(c) if (c.first_offset, c.last_offset + 1) != (0, next) => found.push(format!(
                "partition {number}: acknowledged 0..{next}, rows {}..{}",
                c.first_offset,
                c.last_offset + 1
            )),
            Some(_) => {}
        }
    }
    let known = ledger.partitions().len();
    found.extend(
        counted.keys().filter(|p| usize::from(**p) >= known).map(|p| format!("partition {p}: not in the topic")),
    );
    found
}

fn how_to_read(screen: &mut Screen, folder: &Folder, sent: &[Sent], metadata: &[String]) {
    let table = sent.first().map_or("", |s| s.part.table);
    let location = metadata.first().map_or("", String::as_str);
    // as it was called: the program need not be on the path
    let program = std::env::args().next().unwrap_or_else(|| "k2".to_owned());
    heading(screen, &format!("The tables stay in {}. Read them", folder.shown().display()));
    screen.line(&format!("  with K2:\n{program} -c {} sql", folder.shown().join("k2.toml").display()));
    screen.line(&format!(
        "  with DuckDB:\n\
         duckdb -c \"INSTALL iceberg; LOAD iceberg; SELECT count(*), min(kafka_timestamp), max(kafka_timestamp)\n\
         FROM iceberg_scan('{}')\"",
        location.strip_prefix("file://").unwrap_or(location)
    ));
    screen.line(&format!(
        "  with PyIceberg (pip install 'pyiceberg[sql-sqlite,pyarrow]'):\n\
         python3 -c \"from pyiceberg.catalog.sql import SqlCatalog\n\
         catalog = SqlCatalog('iceberg', uri='sqlite:///{}')\n\
         print(catalog.load_table('market_data.{table}').scan().to_arrow().num_rows, 'rows')\"\n",
        folder.catalog().display()
    ));
}

fn heading(screen: &mut Screen, text: &str) {
    let text = screen.styled(text, Look::Bold);
    screen.line(&format!("\n{text}"));
}

/// What a tool said, indented.
fn show(screen: &mut Screen, output: &Output) {
    for stream in [&output.stdout, &output.stderr] {
        for line in String::from_utf8_lossy(stream).lines() {
            screen.line(&format!("  {line}"));
        }
    }
}

fn succeeded(tool: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(&format!("{tool} has failed ({})", output.status), said))
}

#[cfg(test)]
#[path = "report/tests.rs"]
mod tests;
