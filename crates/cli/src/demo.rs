//! `k2 demo`: everything in one process tree, no server needed - and the promise put to the test before your eyes.
//!
//! In this process: a broker that speaks Kafka's protocol ([`broker`]), two feeds of generated trades with a ledger of what
//! the broker acknowledged ([`feed`]). As a child: `k2 run` ([`engine`]), killed with SIGKILL in the middle of its work and
//! started again. One record in 2,000 is bad and has to end in the dead letters. At the end the tables are held against the
//! ledger ([`report`]): by `k2 verify`, and by counting rows.
//!
//! 1. Each demo works in a folder of its own that did not exist before; nothing is ever deleted, here or elsewhere.
//! 2. No child outlives the demo: it is stopped on every way out, and dies with this process where the kernel can do that.
//! 3. The broker keeps 5 MiB a partition. The feeds hold back before it could drop a record that is in no table yet.
//! 4. Exit code 0 means that the tables hold exactly what the broker acknowledged.

mod broker;
mod engine;
mod feed;
mod folder;
mod progress;
mod report;
mod screen;

use crate::generator::{Exchange, fresh_seed};
use broker::Broker;
use engine::Engine;
use feed::Feed;
use folder::Folder;
use k2_model::{Error, Result};
use progress::{Observed, Tables};
use report::Sent;
use screen::{Screen, grouped};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// What `k2 demo` takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DemoArgs {
    /// Folder for the demo; each run makes a new folder run-1, run-2, … in it
    #[arg(long, value_name = "D", default_value = "k2-demo")]
    pub(crate) dir: PathBuf,
    /// How long trades are produced
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub(crate) seconds: u64,
}

/// One exchange's part in the demo.
#[derive(Debug, Clone, Copy)]
struct Part {
    exchange: Exchange,
    topic: &'static str,
    table: &'static str,
    group: &'static str,
    silver_table: &'static str,
    silver_group: &'static str,
    partitions: u16,
    records_per_second: u32,
}

/// Topics, groups and tables by their real names, partitions as in production, twice the design load and more.
const PARTS: [Part; 2] = [
    Part {
        exchange: Exchange::Binance,
        topic: "market.crypto.trades.binance.raw",
        table: "bronze_binance_trades",
        group: "k2-bronze-binance-ingestion",
        silver_table: "silver_binance_trades",
        silver_group: "k2-silver-binance-transformation",
        partitions: 40,
        records_per_second: 25_000,
    },
    Part {
        exchange: Exchange::Kraken,
        topic: "market.crypto.trades.kraken.raw",
        table: "bronze_kraken_trades",
        group: "k2-bronze-kraken-ingestion",
        silver_table: "silver_kraken_trades",
        silver_group: "k2-silver-kraken-transformation",
        partitions: 20,
        records_per_second: 1_000,
    },
];

/// Where rejects of all exchanges go.
const DLQ: &str = "silver_dlq_trades";

/// How often the tables are looked at and the display is refreshed.
const TICK: Duration = Duration::from_millis(250);

/// How long a killed engine stays down: what a supervisor takes to start it again.
const DOWNTIME: Duration = Duration::from_millis(1_500);

/// How long the engine may take until all is committed, once nothing more is produced.
const CATCH_UP: Duration = Duration::from_secs(60);

/// How long a phase may wait for the engine to commit anything at all.
const FIRST_COMMIT: Duration = Duration::from_secs(60);

/// Exit code of a demo that was interrupted: the shell's for SIGINT.
const INTERRUPTED: u8 = 130;

/// Runs the command. All that it starts is stopped when it returns.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode> {
    let mut screen = Screen::stdout();
    let folder = Folder::create(&args.dir)?;
    let broker = Broker::start(&PARTS)?;
    folder.write_config(&broker.address())?;
    let feeds = PARTS.iter().map(|part| Feed::new(*part, &broker.address(), fresh_seed())).collect::<Result<_>>()?;
    let tables = Tables::new(&folder, &PARTS)?;
    let mut engine = Engine::new(&folder)?;
    screen.opening(&folder, &broker.address(), args.seconds);

    let mut demo =
        Demo { screen, folder, feeds, tables, engine: &mut engine, seconds: args.seconds, started: Instant::now() };
    let outcome = tokio::select! {
        outcome = demo.play() => Some(outcome),
        () = interrupted() => None,
    };
    for feed in &mut demo.feeds {
        feed.stop();
    }
    let (mut screen, started) = (demo.screen, demo.started);
    match outcome {
        Some(Ok(code)) => Ok(code),
        Some(Err(failure)) => {
            engine.kill().await?;
            Err(failure)
        }
        None => {
            screen.event(started.elapsed(), "interrupted: k2 run drains, commits what it has and stops");
            engine.stop().await?;
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Waits for ctrl-C, SIGTERM or the terminal going away.
async fn interrupted() {
    let listen = |kind| signal(kind);
    let (Ok(mut int), Ok(mut term), Ok(mut hup)) =
        (listen(SignalKind::interrupt()), listen(SignalKind::terminate()), listen(SignalKind::hangup()))
    else {
        // no handlers: the default action of the signals ends this process, and the child with it
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
}

/// The play: what happens in which order.
struct Demo<'a> {
    screen: Screen,
    folder: Folder,
    feeds: Vec<Feed>,
    tables: Tables,
    engine: &'a mut Engine,
    seconds: u64,
    started: Instant,
}

impl Demo<'_> {
    async fn play(&mut self) -> Result<ExitCode> {
        self.started = Instant::now();
        let pid = self.engine.start()?;
        self.event(&format!("k2 run started, pid {pid}"));
        for feed in &mut self.feeds {
            feed.start()?;
        }
        let produce_until = self.started + Duration::from_secs(self.seconds);
        for at in kill_times(self.seconds) {
            self.watch_until(self.started + at).await?;
            self.kill_in_the_middle_of_work(produce_until).await?;
        }
        self.watch_until(produce_until).await?;

        for feed in &mut self.feeds {
            feed.finish()?;
        }
        let delivered = self.delivered();
        self.event(&format!("producing ends: the broker acknowledged {} records", grouped(delivered)));
        let committed_in = self.catch_up().await?;
        self.event(&format!("k2 run has caught up, {:.1} s later", committed_in.as_secs_f64()));
        self.engine.stop().await?;
        self.event("k2 run stopped with SIGTERM, exit code 0");
        let sent = |(part, feed): (&Part, &Feed)| Sent {
            part: *part,
            ledger: Arc::clone(feed.ledger()),
            spoiled: feed.spoiled(),
        };
        let sent: Vec<_> = PARTS.iter().zip(&self.feeds).map(sent).collect();
        let locations = self.tables.metadata_locations().await?;
        report::print(&mut self.screen, &self.folder, self.engine, &sent, &locations).await
    }

    /// Kills the engine while it holds records that are in no table yet, and starts it again a moment later.
    async fn kill_in_the_middle_of_work(&mut self, produce_until: Instant) -> Result<()> {
        let before = self.observe().await?.iter().map(|o| o.commits).sum::<u64>();
        let deadline = Instant::now() + FIRST_COMMIT;
        loop {
            let seen = self.tick().await?;
            let working = seen.iter().map(|o| o.commits).sum::<u64>() > before && seen.iter().any(|o| o.lag > 0);
            if working {
                break;
            }
            if Instant::now() > deadline {
                return Err(self.engine.failure("k2 run has committed nothing for a minute"));
            }
        }
        // somewhere between two commits
        let moment = Duration::from_millis(fresh_seed() % 700);
        tokio::time::sleep(moment).await;
        let pid = self.engine.kill().await?;
        let lag: u64 = self.observe().await?.iter().map(|o| o.lag).sum();
        self.event(&format!("kill -9 of pid {pid}, with {} records not committed yet", grouped(lag)));
        self.watch_until(Instant::now() + DOWNTIME).await?;
        let pid = self.engine.start()?;
        let behind: u64 = self.observe().await?.iter().map(|o| o.lag).sum();
        let note = if Instant::now() < produce_until { ", trades keep coming" } else { "" };
        self.event(&format!("k2 run started again, pid {pid}: {} records behind{note}", grouped(behind)));
        Ok(())
    }

    /// Waits until the tables' positions are where the ledger ends.
    async fn catch_up(&mut self) -> Result<Duration> {
        let from = Instant::now();
        loop {
            let seen = self.tick().await?;
            let missing: u64 = seen.iter().map(|o| o.lag).sum();
            if missing == 0 {
                return Ok(from.elapsed());
            }
            if from.elapsed() > CATCH_UP {
                return Err(self.engine.failure(&format!(
                    "{} records are still not committed {} s after the last was produced",
                    grouped(missing),
                    CATCH_UP.as_secs()
                )));
            }
        }
    }

    async fn watch_until(&mut self, end: Instant) -> Result<()> {
        while Instant::now() < end {
            self.tick().await?;
        }
        Ok(())
    }

    /// One look at the tables, one refresh of the display, one pause.
    async fn tick(&mut self) -> Result<Vec<Observed>> {
        let next = Instant::now() + TICK;
        let seen = self.observe().await?;
        self.screen.progress(self.started.elapsed(), &seen, self.engine.pid(), self.engine.memory());
        tokio::time::sleep_until(next.into()).await;
        Ok(seen)
    }

    /// Where ledger and tables stand. Fails when something has ended that should not have.
    async fn observe(&mut self) -> Result<Vec<Observed>> {
        self.engine.check()?;
        let mut seen = Vec::with_capacity(PARTS.len());
        for (feed, part) in self.feeds.iter().zip(&PARTS) {
            let bronze = self.tables.look(part.table, part.group).await;
            let silver = self.tables.look(part.silver_table, part.silver_group).await;
            feed.committed(&bronze, &silver);
            feed.check()?;
            seen.push(Observed::new(part, feed.ledger(), &bronze, &silver, feed.is_held_back()));
        }
        Ok(seen)
    }

    fn event(&mut self, text: &str) {
        self.screen.event(self.started.elapsed(), text);
    }

    fn delivered(&self) -> u64 {
        self.feeds.iter().map(|f| f.ledger().records()).sum()
    }
}

/// When the engine is killed: twice, once in a short demo.
fn kill_times(seconds: u64) -> Vec<Duration> {
    let at = |tenths: u64| Duration::from_millis(seconds * tenths * 100);
    if seconds < 12 { vec![at(4)] } else { vec![at(3), at(6)] }
}

/// The error for a thing of the demo's own that failed.
fn failed(what: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unknown(what).caused_by(cause)
}

#[cfg(test)]
#[path = "demo/tests.rs"]
mod tests;
