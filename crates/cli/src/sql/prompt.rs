//! The prompt: statements over several lines until `;`, a history that lasts, and a few commands.
//!
//! An error ends a statement, never the prompt. Ctrl-C drops the line, or the query that is running; ctrl-D leaves.

use super::answer;
use crate::args::Format;
use crate::grid::{Grid, print};
use k2_model::{Error, Result};
use k2_query::{Queries, split};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};
use serde_json::json;
use std::path::PathBuf;
use tokio::task::block_in_place;

const HELP: &str = "\
SELECT …;              a query; ends at the semicolon
\\d                     the tables
\\d TABLE               the columns of a table
\\f table|csv|json      how rows are printed
help or \\?             this
\\q or ctrl-D           leave
TABLE.snapshots, .history, .files, .manifests, .partitions, .entries, .refs     what Iceberg knows about a table
TABLE VERSION AS OF <snapshot id>, TABLE TIMESTAMP AS OF '2026-01-31 12:00:00'  earlier states
";

/// A finished input.
#[derive(Debug, PartialEq)]
enum Input<'a> {
    Nothing,
    Help,
    Quit,
    Tables,
    Columns(&'a str),
    Format(&'a str),
    Unknown(&'a str),
    Statements(Vec<&'a str>),
    /// More lines are needed.
    Unfinished,
}

impl<'a> Input<'a> {
    fn read(text: &'a str) -> Self {
        let text = text.trim();
        let word = text.trim_end_matches(';').trim_end();
        match word.to_ascii_lowercase().as_str() {
            "help" | "\\?" | "\\h" | "?" => return Self::Help,
            "quit" | "exit" | "\\q" => return Self::Quit,
            "\\d" | "\\dt" => return Self::Tables,
            _ => {}
        }
        if let Some((command, argument)) = word.split_once(char::is_whitespace).filter(|_| word.starts_with('\\')) {
            return match command {
                "\\d" => Self::Columns(argument.trim()),
                "\\f" => Self::Format(argument.trim()),
                _ => Self::Unknown(command),
            };
        }
        if word.starts_with('\\') {
            return Self::Unknown(word);
        }
        let (statements, rest) = split::statements(text);
        match (split::is_blank(rest), statements.is_empty()) {
            (false, _) => Self::Unfinished,
            (true, true) => Self::Nothing,
            (true, false) => Self::Statements(statements),
        }
    }
}

/// Tells the line editor when an input is finished.
struct UntilSemicolon;

impl Validator for UntilSemicolon {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match Input::read(context.input()) {
            Input::Unfinished => ValidationResult::Incomplete,
            _ => ValidationResult::Valid(None),
        })
    }
}

impl Completer for UntilSemicolon {
    type Candidate = String;
}
impl Hinter for UntilSemicolon {
    type Hint = String;
}
impl Highlighter for UntilSemicolon {}
impl Helper for UntilSemicolon {}

/// Reads and answers until the end.
pub(super) async fn run(queries: &Queries, mut format: Format) -> Result<()> {
    let broken = |e: ReadlineError| Error::unknown("the prompt failed").caused_by(e);
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<UntilSemicolon, FileHistory> = Editor::with_config(config).map_err(broken)?;
    editor.set_helper(Some(UntilSemicolon));
    let history = history_file();
    if let Some(file) = &history {
        // there is none at first
        let _ = editor.load_history(file);
    }
    print("Type help for help, \\q to leave. Statements end with ;\n")?;
    loop {
        let text = match block_in_place(|| editor.readline("k2> ")) {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(e) => return Err(broken(e)),
        };
        if let Some(file) = &history
            && let Err(error) = editor.save_history(file)
        {
            tracing::debug!(%error, "the history can't be saved");
        }
        let input = Input::read(&text);
        if input == Input::Quit {
            break;
        }
        tokio::select! {
            done = handle(queries, input, &mut format) => {
                if let Err(error) = done {
                    print(&format!("error: {error}\n"))?;
                }
            }
            _ = tokio::signal::ctrl_c() => print("\nstopped\n")?,
        }
    }
    Ok(())
}

async fn handle(queries: &Queries, input: Input<'_>, format: &mut Format) -> Result<()> {
    match input {
        Input::Help => print(HELP),
        Input::Tables => {
            let mut grid = Grid::new(&["table"]);
            queries.tables().await?.into_iter().for_each(|table| grid.push(vec![json!(table)]));
            grid.print(Format::Table)
        }
        Input::Columns(table) => {
            let mut grid = Grid::new(&["column", "type", "nullable"]);
            for column in queries.columns(table).await? {
                let nullable = if column.required { "no" } else { "yes" };
                grid.push(vec![json!(column.name), json!(column.data_type), json!(nullable)]);
            }
            grid.print(Format::Table)
        }
        Input::Format(name) => {
            *format = match name {
                "table" => Format::Table,
                "csv" => Format::Csv,
                "json" => Format::Json,
                _ => return Err(Error::config(format!("there is no format {name}")).fix("table, csv or json")),
            };
            Ok(())
        }
        Input::Unknown(command) => Err(Error::config(format!("there is no command {command}")).fix("help lists them")),
        Input::Statements(statements) => {
            for statement in statements {
                answer(queries, statement, *format).await?;
            }
            Ok(())
        }
        Input::Nothing | Input::Quit | Input::Unfinished => Ok(()),
    }
}

/// `$XDG_STATE_HOME/k2/sql_history`; none where there is no home.
#[allow(clippy::disallowed_methods, reason = "where a person keeps files is no configuration of the engine")]
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let folder = state.join("k2");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql_history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs() {
        for (text, input) in [
            ("", Input::Nothing),
            ("  ;", Input::Nothing),
            ("-- a remark;", Input::Nothing),
            ("help", Input::Help),
            ("HELP;", Input::Help),
            ("\\?", Input::Help),
            ("\\q", Input::Quit),
            ("exit;", Input::Quit),
            ("\\d", Input::Tables),
            ("\\d  trades ;", Input::Columns("trades")),
            ("\\f csv", Input::Format("csv")),
            ("\\x", Input::Unknown("\\x")),
            ("SELECT 1", Input::Unfinished),
            ("SELECT 1\n", Input::Unfinished),
            ("SELECT ';", Input::Unfinished),
            ("SELECT 1;", Input::Statements(vec!["SELECT 1"])),
            ("SELECT\n1 ; SELECT 2;", Input::Statements(vec!["SELECT\n1", "SELECT 2"])),
            ("SELECT 1; SELECT", Input::Unfinished),
        ] {
            assert_eq!(Input::read(text), input, "{text:?}");
        }
    }
}
