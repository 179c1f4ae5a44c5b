//! One function wires a pipeline and reads like the diagram:
//!
//! ```text
//! Kafka ─► source thread ─►(bounded channel)─► bronze sink ─► commit gate ─► Iceberg table
//!              ▲                                   │
//!              └────────────(commands)─────────────┘
//! ```
//!
//! All pipelines of the process share one byte budget, one set of store clients and one catalog.

use crate::bronze::Bronze;
use crate::config::{Config, Pipeline};
use crate::connect;
use crate::supervisor::{Failure, Supervisor};
use iceberg::TableIdent;
use iceberg::table::Table;
use k2_lake::catalog::Catalog;
use k2_lake::contract;
use k2_lake::gate::Gate;
use k2_model::patience::Patience;
use k2_lake::store::Stores;
use k2_model::{Budget, Class, Command, Error, Permit, Result, SourceId};
use k2_source::{Admin, SourceHandle};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Batches that may wait between source and sink, per pipeline; their bytes are in the budget.
const EVENTS: usize = 4;
/// The most that librdkafka may prefetch per pipeline, in bytes.
const PREFETCH_MOST: u64 = 24 << 20;
/// How long the brokers may take to answer before the start is called off.
const START_BOUND: Duration = Duration::from_secs(10);

/// How long a catalog may fail to answer before the start is called off.
const OPEN_BOUND: Duration = Duration::from_secs(60);
/// How long the consumers may take to leave their groups at the end.
const CLOSE_BOUND: Duration = Duration::from_millis(1800);

/// What `k2 run` was asked for.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// The pipelines by name; empty: all enabled ones.
    pub pipelines: Vec<String>,
    /// End when the end offsets of the start are reached.
    pub until_caught_up: bool,
}

/// Pipelines that have been wired and are running.
#[derive(Debug)]
pub struct Running {
    supervisor: Supervisor,
    sources: Vec<Arc<SourceHandle>>,
    finite: bool,
    /// Prefetch of all pipelines, reserved for as long as they run.
    _reserved: Vec<Permit>,
}

/// Checks what the pipelines need, and starts them.
pub async fn start(config: &Config, options: &RunOptions) -> Result<Running> {
    let pipelines = config.select(&options.pipelines)?;
    let budget = Budget::new(config.memory.budget);
    let stores = connect::stores(config);
    let catalog = connect::catalog(config, &stores).await?;
    preflight(config, &pipelines).await?;

    let prefetch = (budget.total() / 6 / pipelines.len().max(1) as u64).min(PREFETCH_MOST);
    let mut running = Running {
        supervisor: Supervisor::default(),
        sources: Vec::new(),
        finite: options.until_caught_up,
        _reserved: Vec::new(),
    };
    for pipeline in pipelines {
        running._reserved.push(budget.take(prefetch).await);
        wire(&mut running, config, pipeline, &budget, prefetch, &stores, &catalog).await?;
    }
    Ok(running)
}

/// Wires one pipeline.
async fn wire(
    running: &mut Running,
    config: &Config,
    pipeline: &Pipeline,
    budget: &Budget,
    prefetch: u64,
    stores: &Stores,
    catalog: &Arc<dyn Catalog>,
) -> Result<()> {
    let ident = connect::ident(config, &pipeline.table)?;
    let table = open(config, catalog, &ident).await?;
    let gate = Gate::new(Arc::clone(catalog), ident, SourceId::new(pipeline.group.as_str()));

    let (events_in, events) = mpsc::channel(EVENTS);
    let source = connect::source(config, pipeline, prefetch, running.finite);
    let source = Arc::new(k2_source::spawn(source, budget.clone(), events_in)?);
    running.sources.push(Arc::clone(&source));

    let sink = Bronze {
        pipeline: pipeline.name.clone(),
        topic: pipeline.topic.as_str().into(),
        gate,
        stores: stores.clone(),
        table: table.metadata_ref(),
        commit_interval: pipeline.commit_interval,
        until_caught_up: running.finite,
        events,
        commands: Arc::new(move |command| source.send(command)),
    };
    running.supervisor.spawn(format!("bronze sink {}", pipeline.name), sink.run(running.supervisor.token()));
    tracing::info!(pipeline = %pipeline.name, topic = %pipeline.topic, group = %pipeline.group, table = %pipeline.table, "started");
    Ok(())
}

/// Opens the table, or makes it. An answer that did not come says nothing about what happened, so it is asked again.
async fn open(config: &Config, catalog: &Arc<dyn Catalog>, ident: &TableIdent) -> Result<Table> {
    let mut patience = Patience::new(format!("open table {ident}"));
    let begun = tokio::time::Instant::now();
    loop {
        let opened = contract::bronze().open(catalog.as_ref(), ident, config.catalog.create_tables).await;
        match opened {
            Err(e) if matches!(e.class(), Class::Retry | Class::Unknown) && begun.elapsed() < OPEN_BOUND => {
                patience.wait(&e).await;
            }
            other => {
                patience.over();
                return other;
            }
        }
    }
}

impl Running {
    /// Cancelling it makes everything drain and end.
    pub fn token(&self) -> CancellationToken {
        self.supervisor.token()
    }

    /// Waits for the end; see [`Supervisor::run`].
    pub async fn wait(self) -> Result<(), Failure> {
        let result = self.supervisor.run(self.finite).await;
        for source in &self.sources {
            source.send(Command::Stop);
        }
        // a consumer's close can block: leave with a deadline
        let closed = async {
            while !self.sources.iter().all(|s| s.is_finished()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(CLOSE_BOUND, closed).await.is_err() {
            tracing::debug!("a Kafka consumer did not close in time");
        }
        result
    }
}

/// Brokers and topics are there: said at the start, with a bound, rather than waited for in silence.
async fn preflight(config: &Config, pipelines: &[&Pipeline]) -> Result<()> {
    let settings = connect::kafka(config);
    let topics: Vec<(String, String)> = pipelines.iter().map(|p| (p.name.clone(), p.topic.clone())).collect();
    let origin = config.origin("kafka.brokers");
    let check = move || -> Result<()> {
        let admin = Admin::connect(&settings, "k2-preflight").map_err(|e| e.at(origin))?;
        for (pipeline, topic) in topics {
            admin.identity(&topic).map_err(|e| e.at(format!("pipeline {pipeline}")))?;
        }
        Ok(())
    };
    match tokio::time::timeout(START_BOUND * 2, tokio::task::spawn_blocking(check)).await {
        Ok(Ok(result)) => result.map_err(|e| e.with_class(Class::Config)),
        Ok(Err(e)) => Err(Error::unknown("the check of Kafka failed").caused_by(e)),
        Err(_) => Err(Error::config("the Kafka brokers did not answer in time").at(config.kafka.brokers.clone())),
    }
}
