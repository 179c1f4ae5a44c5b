//! What silver pipelines need beside tables and topics: schemas, and a projection and rules that compile.

use super::{Finding, PATIENCE, Tell};
use crate::config::{Config, Pipeline};
use crate::connect;
use k2_model::{Error, Result};
use k2_transform::Plan;

/// Where schemas come from. A registry is asked even where nobody needs it: it was set to be used.
pub(super) async fn schemas(config: &Config, pipelines: &[&Pipeline], tell: Tell<'_>) {
    let registry = !config.registry.urls.is_empty();
    if !registry && pipelines.iter().all(|p| p.silver().is_none()) {
        return;
    }
    let mut config = config.clone();
    config.registry.request_timeout = config.registry.request_timeout.min(PATIENCE);
    let (place, key) =
        if registry { ("schema registry", "registry.url") } else { ("schema folder", "registry.folder") };
    let schemas = match connect::schemas(&config) {
        Ok(schemas) => schemas,
        Err(error) => return tell(Finding::new(place, Err(error))),
    };
    match schemas.ping().await {
        Ok(what) => tell(Finding::new(format!("{place} {schemas}: {what}"), Ok(()))),
        Err(error) => tell(Finding::new(format!("{place} {schemas}"), Err(error.at(config.origin(key))))),
    }
}

/// What each silver pipeline makes of a record.
pub(super) fn plans(config: &Config, pipelines: &[&Pipeline], tell: Tell<'_>) {
    for pipeline in pipelines {
        let Some(silver) = pipeline.silver() else { continue };
        let compiled = || -> Result<Plan> { Plan::compile(&connect::definition(config, pipeline, silver)?) };
        let what = format!("transform of {}", pipeline.name);
        tell(match compiled() {
            Ok(plan) => Finding::new(format!("{what}: rules version {}", plan.rules_version()), Ok(())),
            Err(error) => Finding::new(what, Err(error)),
        });
        if let Some(error) = other_topic(config, pipeline) {
            tell(Finding::new(format!("bronze table {} of {}", silver.bronze, pipeline.name), Err(error)));
        }
    }
}

/// The bronze table of a silver pipeline must hold the same topic, or replay and the balance compare different records.
fn other_topic(config: &Config, pipeline: &Pipeline) -> Option<Error> {
    let bronze = &pipeline.silver()?.bronze;
    let mut feeding = config.enabled().filter(|p| p.silver().is_none() && p.table == *bronze);
    let other = feeding.next()?;
    if other.topic == pipeline.topic || feeding.any(|p| p.topic == pipeline.topic) {
        return None;
    }
    let what = format!("{} fills it from topic {}, not from {}", other.name, other.topic, pipeline.topic);
    let error = Error::config(what).at(config.origin(&format!("pipelines.{}.bronze", pipeline.name)));
    Some(error.fix("name the bronze table of the same topic, or none: bronze = \"\""))
}
