//! `k2 check`: tries everything that `run` will need, and says what is wrong and how to put it right.
//!
//! Owns no rule of its own: it asks the same rooms that `run` will ask. Of silver pipelines it also tries where schemas
//! come from and compiles what they make of a record. It writes nothing but one small object in the
//! warehouse, which it deletes again - a crash between the two leaves that object, `.k2-check-…`, behind - and, as any
//! command, an empty SQLite catalog where there is none. What cannot be tried because something before it failed is
//! said to be skipped, never to be fine.

mod lake;
mod memory;
mod transform;

use crate::config::{Config, Pipeline};
use crate::connect;
use k2_model::retry::Backoff;
use k2_model::{Class, Error, Result};
use k2_source::{Admin, TopicRights};
use std::time::{Duration, Instant};

/// How long the brokers or the registry may take for one answer: a person is waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of one try.
#[derive(Debug)]
pub enum Outcome {
    /// It works.
    Fine,
    /// It does not; what is wrong and the way out.
    Wrong(Error),
    /// It could not be tried, for this reason.
    Skipped(&'static str),
}

/// One thing that was tried.
#[derive(Debug)]
pub struct Finding {
    /// What, with what was learnt of it: `topic t of bronze-x: 40 partitions`.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
}

impl Finding {
    fn new(what: impl Into<String>, result: Result<()>) -> Self {
        let outcome = match result {
            Ok(()) => Outcome::Fine,
            Err(error) => Outcome::Wrong(error),
        };
        Self { what: what.into(), outcome }
    }

    fn skipped(what: impl Into<String>, why: &'static str) -> Self {
        Self { what: what.into(), outcome: Outcome::Skipped(why) }
    }
}

/// Who is told.
type Tell<'a> = &'a mut (dyn FnMut(Finding) + Send);

/// Tries all, in the order in which `run` needs it; each finding is told as soon as it is there.
pub async fn check(config: &Config, pipelines: &[&Pipeline], tell: Tell<'_>) {
    memory(config, tell);
    kafka(config, pipelines, tell).await;
    transform::schemas(config, pipelines, tell).await;
    transform::plans(config, pipelines, tell);
    lake::lake(config, pipelines, tell).await;
}

fn memory(config: &Config, tell: Tell<'_>) {
    let limit = memory::limit();
    let (what, result) = memory::judge(config.memory.budget, limit);
    tell(Finding::new(what, result.map_err(|e| e.at(config.origin("memory.budget")))));
}

/// What the brokers said of a pipeline: its topic, its group.
type OfKafka = (Result<TopicRights>, Result<()>);

async fn kafka(config: &Config, pipelines: &[&Pipeline], tell: Tell<'_>) {
    let settings = connect::kafka(config);
    let asked: Vec<(String, String)> = pipelines.iter().map(|p| (p.topic.clone(), p.group.clone())).collect();
    let answers = blocking(move || -> Result<(String, Vec<OfKafka>)> {
        let admin = Admin::connect(&settings, "k2-check")?.with_timeout(PATIENCE);
        let brokers = brokers(&admin, &asked)?;
        let ask = |(topic, group): &(String, String)| {
            (patiently(|| admin.topic_rights(topic)), patiently(|| admin.check_group(group)))
        };
        Ok((brokers, asked.iter().map(ask).collect()))
    });
    match answers.await {
        Err(error) => {
            tell(Finding::new("brokers", Err(error.at(config.origin("kafka.brokers")))));
            for pipeline in pipelines {
                tell(Finding::skipped(format!("topic and group of {}", pipeline.name), "no broker answers"));
            }
        }
        Ok((brokers, answers)) => {
            tell(Finding::new(format!("brokers {}: {brokers}", config.kafka.brokers), Ok(())));
            for (pipeline, (topic, group)) in pipelines.iter().zip(answers) {
                tell(of_topic(config, pipeline, topic));
                let at = config.origin(&format!("pipelines.{}.group", pipeline.name));
                tell(Finding::new(
                    format!("group {} of {}", pipeline.group, pipeline.name),
                    group.map_err(|e| e.at(at)),
                ));
            }
        }
    }
}

/// What there is behind the bootstrap servers. Some clusters don't list their brokers to everybody: an answer to a
/// question about a topic, even a bad one, counts as well.
fn brokers(admin: &Admin, asked: &[(String, String)]) -> Result<String> {
    let unlisted = match admin.brokers() {
        Ok(all) => return Ok(format!("{} in the cluster", all.len())),
        Err(error) => error,
    };
    match asked.first().map(|(topic, _)| admin.identity(topic)) {
        Some(Ok(identity)) => Ok(format!("cluster {}", identity.cluster_id)),
        // a login that fails is of this class too, but then it has failed both times
        Some(Err(error)) if error.class() == Class::Config && unlisted.class() == Class::Retry => {
            Ok("they answer".into())
        }
        _ => Err(unlisted),
    }
}

fn of_topic(config: &Config, pipeline: &Pipeline, answer: Result<TopicRights>) -> Finding {
    let what = format!("topic {} of {}", pipeline.topic, pipeline.name);
    let at = config.origin(&format!("pipelines.{}.topic", pipeline.name));
    match answer {
        Ok(TopicRights { readable: Some(false), .. }) => {
            let error = Error::config("this user may not read the topic").at(pipeline.topic.clone()).at(at);
            Finding::new(what, Err(error.fix("grant it READ on the topic")))
        }
        Ok(TopicRights { partitions, .. }) => Finding::new(format!("{what}: {partitions} partitions"), Ok(())),
        Err(error) => Finding::new(what, Err(error.at(at))),
    }
}

/// Asks again while the answer is that it may work later: brokers that have just started are still looking for the
/// coordinators of their groups.
fn patiently<T>(ask: impl Fn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    let mut backoff = Backoff::default();
    loop {
        match ask() {
            Err(error) if error.class() == Class::Retry && Instant::now() < deadline => {
                std::thread::sleep(backoff.pause())
            }
            answer => return answer,
        }
    }
}

/// Asks questions that block on a thread for that.
async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(ask).await {
        Ok(result) => result,
        Err(e) => Err(Error::unknown("the check itself failed").caused_by(e)),
    }
}
