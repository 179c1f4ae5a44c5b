//! One function wires a pipeline and reads like the diagram:
//!
//! ```text
//! Kafka ─► source thread ─►(bounded channel)─► bronze sink ─► commit gate ─► bronze table
//!              ▲                                   │
//!              └────────────(commands)─────────────┘
//!
//! Kafka ─► source thread ─►(bounded)─► transform ─►(bounded)─► silver sink ─► commit gate ─► silver table
//!              ▲                                                  │  │ (rejects that were decided on)
//!              └──────────────────(commands)──────────────────────┘  └──► DLQ task ─► settler ─► DLQ table
//! ```
//!
//! All pipelines of the process share one byte budget, one set of store clients, one catalog and one schema registry
//! client; all silver pipelines with the same DLQ table share the task that writes it.

use crate::bronze::Bronze;
use crate::config::{Config, Pipeline, PipelineKind, Silver as SilverSettings};
use crate::connect;
use crate::dlq::{Dlq, DlqClient};
use crate::rate::RejectRate;
use crate::silver::Silver;
use crate::sink::{self, Desk};
use crate::stage::Stage;
use crate::supervisor::{Failure, Supervisor};
use iceberg::TableIdent;
use iceberg::table::Table;
use k2_lake::catalog::Catalog;
use k2_lake::contract::{self, TableContract};
use k2_lake::gate::{Gate, Settler};
use k2_lake::store::Stores;
use k2_model::patience::Patience;
use k2_model::{Budget, Class, Command, Error, Event, Permit, Result, SourceId};
use k2_source::{Admin, SourceHandle};
use k2_transform::{Plan, Resolver, Schemas, Transformer};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Batches that may wait between source and sink, per pipeline; their bytes are in the budget.
const EVENTS: usize = 4;
/// Batches that may wait between transform and sink, per pipeline; they have grown since they were counted.
const ROUTED: usize = 2;
/// Requests that may wait for a DLQ task: one per silver sink, and then some.
const REQUESTS: usize = 16;
/// The most that librdkafka may prefetch per pipeline, in bytes.
const PREFETCH_MOST: u64 = 24 << 20;
/// How long the brokers may take to answer before the start is called off.
const START_BOUND: Duration = Duration::from_secs(10);

/// How long a catalog may fail to answer before the start is called off.
const OPEN_BOUND: Duration = Duration::from_secs(60);
/// How long a sink may take to tell that its source has ended.
const NOTICED: Duration = Duration::from_secs(4);
/// How often the sources are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
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
    let mut shared = Shared {
        config,
        running: Running {
            supervisor: Supervisor::default(),
            sources: Vec::new(),
            finite: options.until_caught_up,
            _reserved: Vec::new(),
        },
        budget,
        prefetch,
        stores,
        catalog,
        schemas: None,
        dlqs: HashMap::new(),
    };
    for pipeline in pipelines {
        let reserved = shared.budget.take(prefetch).await;
        shared.running._reserved.push(reserved);
        match &pipeline.kind {
            PipelineKind::Bronze => bronze(&mut shared, pipeline).await?,
            PipelineKind::Silver(settings) => silver(&mut shared, pipeline, settings).await?,
        }
        tracing::info!(pipeline = %pipeline.name, topic = %pipeline.topic, group = %pipeline.group, table = %pipeline.table, "started");
    }
    // what `shared` still holds must not keep the DLQ tasks waiting for requests
    Ok(shared.running)
}

/// What the pipelines of a process have in common while they are wired.
struct Shared<'a> {
    config: &'a Config,
    running: Running,
    budget: Budget,
    prefetch: u64,
    stores: Stores,
    catalog: Arc<dyn Catalog>,
    schemas: Option<Schemas>,
    dlqs: HashMap<TableIdent, (Table, DlqClient)>,
}

/// Wires a bronze pipeline.
async fn bronze(shared: &mut Shared<'_>, pipeline: &Pipeline) -> Result<()> {
    let table = open(shared, &pipeline.table, &contract::bronze()).await?;
    let (events_in, events) = mpsc::channel(EVENTS);
    let source = source(shared, pipeline, events_in)?;
    let desk = desk(shared, pipeline, &table, source, events)?;
    let stop = shared.running.supervisor.token();
    shared.running.supervisor.spawn(format!("bronze sink {}", pipeline.name), sink::run(desk, Bronze, stop));
    Ok(())
}

/// Wires a silver pipeline, and the task of its DLQ table if it is the first that has it.
async fn silver(shared: &mut Shared<'_>, pipeline: &Pipeline, settings: &SilverSettings) -> Result<()> {
    let plan = Arc::new(Plan::compile(&connect::definition(shared.config, pipeline, settings)?)?);
    let schemas = match &shared.schemas {
        Some(schemas) => schemas.clone(),
        None => shared.schemas.insert(connect::schemas(shared.config)?).clone(),
    };
    let table = open(shared, &pipeline.table, &contract::silver()).await?;
    let (dlq_table, dlq) = dlq(shared, &settings.dlq).await?;

    let (events_in, events) = mpsc::channel(EVENTS);
    let (rows_in, rows) = mpsc::channel(ROUTED);
    let source = source(shared, pipeline, events_in)?;
    let lane = Silver {
        pipeline: pipeline.name.clone(),
        source: SourceId::new(pipeline.group.as_str()),
        topic: pipeline.topic.as_str().into(),
        rules: plan.rules_version().to_owned(),
        dlq_ident: dlq_table.identifier().clone(),
        dlq_table: dlq_table.metadata_ref(),
        dlq,
        settled: Vec::new(),
        rate: RejectRate::default(),
    };
    let resolver = Resolver::new(schemas, shared.config.registry.unknown_id_grace, &pipeline.name);
    let stage = Stage {
        transformer: Transformer::new(plan, resolver),
        events,
        rows: rows_in,
        until_caught_up: shared.running.finite,
    };
    let desk = desk(shared, pipeline, &table, source, rows)?;
    let supervisor = &mut shared.running.supervisor;
    let stop = supervisor.token();
    supervisor.spawn(format!("transform {}", pipeline.name), stage.run(stop.clone()));
    supervisor.spawn(format!("silver sink {}", pipeline.name), sink::run(desk, lane, stop));
    Ok(())
}

/// The DLQ table of this name and a way to its task, which is started for the first who asks.
async fn dlq(shared: &mut Shared<'_>, name: &str) -> Result<(Table, DlqClient)> {
    let ident = connect::ident(shared.config, name)?;
    if let Some((table, client)) = shared.dlqs.get(&ident) {
        return Ok((table.clone(), client.clone()));
    }
    let table = open(shared, name, &contract::dlq()).await?;
    let settler = Settler::new(Arc::clone(&shared.catalog), ident.clone());
    let (requests_in, requests) = mpsc::channel(REQUESTS);
    let stop = shared.running.supervisor.token();
    let client = DlqClient { settler: settler.clone(), requests: requests_in, stop };
    shared.running.supervisor.spawn(format!("DLQ {name}"), Dlq { settler, requests }.run());
    shared.dlqs.insert(ident, (table.clone(), client.clone()));
    Ok((table, client))
}

/// Starts the source of a pipeline.
fn source(shared: &mut Shared<'_>, pipeline: &Pipeline, events: mpsc::Sender<Event>) -> Result<Arc<SourceHandle>> {
    let settings = connect::source(shared.config, pipeline, shared.prefetch, shared.running.finite);
    let source = Arc::new(k2_source::spawn(settings, shared.budget.clone(), events)?);
    shared.running.sources.push(Arc::clone(&source));
    let supervisor = &mut shared.running.supervisor;
    let watched = unnoticed_end(Arc::clone(&source), shared.running.finite, supervisor.token());
    supervisor.spawn(format!("source {}", pipeline.name), watched);
    Ok(source)
}

/// Fails when the source has ended and its pipeline takes no notice, because it waits for a registry, a store or a catalog that
/// is no help. Its sink tells the end itself as a rule, with what it could still commit.
async fn unnoticed_end(source: Arc<SourceHandle>, finite: bool, stop: CancellationToken) -> Result<()> {
    // the end of finite work must not wait for this
    let pause = if finite { LOOK_EVERY / 25 } else { LOOK_EVERY };
    let mut ended = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        match source.ended() {
            // asked to, by a sink that has done its work, or that has failed and tells why
            Some(Ok(())) if finite => return Ok(()),
            None | Some(Ok(())) => {}
            Some(Err(error)) => {
                if ended.get_or_insert_with(tokio::time::Instant::now).elapsed() >= NOTICED {
                    return Err(error);
                }
            }
        }
    }
}

/// What the sink of a pipeline works with.
fn desk<R>(
    shared: &Shared<'_>,
    pipeline: &Pipeline,
    table: &Table,
    source: Arc<SourceHandle>,
    events: mpsc::Receiver<Event<R>>,
) -> Result<Desk<R>> {
    let ident = connect::ident(shared.config, &pipeline.table)?;
    Ok(Desk {
        pipeline: pipeline.name.clone(),
        topic: pipeline.topic.as_str().into(),
        gate: Gate::new(Arc::clone(&shared.catalog), ident, SourceId::new(pipeline.group.as_str())),
        stores: shared.stores.clone(),
        table: table.metadata_ref(),
        commit_interval: pipeline.commit_interval,
        until_caught_up: shared.running.finite,
        events,
        commands: Arc::new(move |command| source.send(command)),
    })
}

/// Opens the table, or makes it. An answer that did not come says nothing about what happened, so it is asked again.
async fn open(shared: &Shared<'_>, name: &str, contract: &TableContract) -> Result<Table> {
    let ident = &connect::ident(shared.config, name)?;
    let create = shared.config.catalog.create_tables;
    let mut patience = Patience::new(format!("open table {ident}"));
    let begun = tokio::time::Instant::now();
    loop {
        let opened = contract.open(shared.catalog.as_ref(), ident, create).await;
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
