//! `k2 check`: one line for each thing that `run` will need.

use crate::args::{CheckArgs, Format};
use crate::exit;
use crate::grid::{self, Grid};
use k2_engine::check::{Finding, Outcome};
use k2_engine::config::Config;
use k2_model::Result;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Tries all. Code 4 if something is wrong.
pub(crate) async fn run(config: &Config, args: &CheckArgs) -> Result<ExitCode> {
    let pipelines = config.select(&args.pipelines)?;
    let names: Vec<&str> = pipelines.iter().map(|p| p.name.as_str()).collect();
    let mut report =
        Report { format: args.format, grid: Grid::new(&["status", "what", "way_out"]), wrong: 0, printed: Ok(()) };
    report.tell(Finding { what: format!("configuration: {}", names.join(", ")), outcome: Outcome::Fine });
    k2_engine::check::check(config, &pipelines, &mut |finding| report.tell(finding)).await;
    report.printed?;
    if args.format != Format::Table {
        report.grid.print(args.format)?;
    }
    Ok(if report.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::FOUND) })
}

/// What is told: as lines at once for a person, as rows at the end for others.
struct Report {
    format: Format,
    grid: Grid,
    wrong: usize,
    printed: Result<()>,
}

impl Report {
    fn tell(&mut self, finding: Finding) {
        let (status, what, way_out) = match &finding.outcome {
            Outcome::Fine => ("ok", finding.what.clone(), None),
            Outcome::Skipped(why) => ("skip", format!("{}: {why}", finding.what), None),
            Outcome::Wrong(error) => {
                self.wrong += 1;
                ("FAIL", format!("{}: {}", finding.what, exit::without_way_out(error)), error.way_out())
            }
        };
        if self.format == Format::Table {
            let line = match way_out {
                Some(way_out) => format!("{status:<4} {what} - {way_out}\n"),
                None => format!("{status:<4} {what}\n"),
            };
            if self.printed.is_ok() {
                self.printed = grid::print(&line);
            }
        } else {
            self.grid.push(vec![json!(status), json!(what), way_out.map_or(Value::Null, |w| json!(w))]);
        }
    }
}
