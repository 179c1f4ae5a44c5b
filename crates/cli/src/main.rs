//! `k2`: reads the command line and the configuration, starts logs and runtime, and hands over to a command.

mod args;
mod check;
mod demo;
mod dlq;
mod exit;
mod generator;
mod grid;
mod logging;
mod memory;
mod offsets;
mod run;
mod sql;
mod tables;
mod try_records;
mod verify;

use args::{Cli, Command, LogFormat};
use k2_engine::config::{Config, Sources};
use k2_engine::wiring::RunOptions;
use k2_model::{Error, Result};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    memory::configure();
    let cli = Cli::of_process();
    let format = logging::format(cli.log_format);
    // what a person calls tells errors to a person; a service tells them where its logs are
    let errors = if matches!(cli.command, Command::Run(_)) { format } else { LogFormat::Text };
    if let Err(error) = logging::start(format) {
        return exit::end(Err(error), LogFormat::Text);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return exit::end(Err(Error::unknown("cannot start the runtime").caused_by(e)), errors),
    };
    let result = runtime.block_on(dispatch(cli));
    // a client that blocks in its close must not hold up the end
    runtime.shutdown_background();
    exit::end(result, errors)
}

/// One line a command.
async fn dispatch(cli: Cli) -> Result<ExitCode> {
    let settings = Settings { file: cli.config, set: cli.set };
    match cli.command {
        Command::Run(args) => {
            let options = RunOptions { pipelines: args.pipelines, until_caught_up: args.until_caught_up };
            run::run(&settings.load()?, &options).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(args) => demo::run(args).await,
        Command::Check(args) => check::run(&settings.load()?, &args).await,
        Command::Try(args) => try_records::run(&settings.load()?, &args).await,
        Command::Dlq(command) => dlq::run(&settings.load()?, &command).await,
        Command::BenchLoad(args) => generator::load::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Tables(command) => tables::run(&settings.load()?, &command).await,
        Command::Sql(args) => sql::run(&settings.load()?, &args).await,
        Command::Offsets(args) => offsets::run(&settings.load()?, args).await,
        Command::Verify(args) => verify::run(&settings.load()?, &args).await,
    }
}

/// What the command line says about the configuration.
struct Settings {
    file: Option<PathBuf>,
    set: Vec<String>,
}

impl Settings {
    /// Loads it. A command that needs no configuration doesn't ask, and is not stopped by a wrong one.
    fn load(&self) -> Result<Config> {
        Ok(Config::load(&Sources::of_process(self.file.as_deref(), self.set.clone())?)?)
    }
}
