//! What the demo shows: on a terminal a block that is refreshed in place below the lines that stay; elsewhere plain lines.
//!
//! Nothing here can fail: whoever closes the pipe does not want to read on.

use super::PARTS;
use super::engine::Memory;
use super::folder::Folder;
use super::progress::Observed;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::time::Duration;

/// Rates are averages over this time: a commit a second would make them jump.
const RATES_OVER: Duration = Duration::from_secs(3);

/// Without a terminal: a line this often.
const PLAIN_EVERY: Duration = Duration::from_secs(1);

/// The demo's display.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    terminal: bool,
    /// Lines of the block that stand below the last line that stays.
    drawn: usize,
    now: Duration,
    next_plain: Duration,
    history: VecDeque<Sample>,
}

/// Counts at a time, per exchange.
struct Sample {
    at: Duration,
    delivered: Vec<u64>,
    silver: Vec<u64>,
}

/// How a word looks on a terminal.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// A heading.
    Bold,
    /// Less important.
    Dim,
    /// It holds.
    Good,
    /// It does not.
    Bad,
}

impl Screen {
    /// The standard output.
    pub(super) fn stdout() -> Self {
        let out = std::io::stdout();
        let terminal = out.is_terminal();
        Self::new(Box::new(out), terminal)
    }

    fn new(out: Box<dyn Write + Send>, terminal: bool) -> Self {
        Self { out, terminal, drawn: 0, now: Duration::ZERO, next_plain: Duration::ZERO, history: VecDeque::new() }
    }

    /// What this is and where things are.
    pub(super) fn opening(&mut self, folder: &Folder, broker: &str, seconds: u64) {
        let title = self.styled("K2 demo", Look::Bold);
        self.line(&format!("\n{title} - trades from Kafka into Iceberg tables, exactly once, through kill -9\n"));
        self.line(&format!("  broker   {broker}, Kafka's protocol, inside this process"));
        for part in &PARTS {
            let rate = grouped(u64::from(part.records_per_second));
            self.line(&format!("  topic    {:<34}{:>3} partitions {rate:>8} records/s", part.topic, part.partitions));
        }
        for part in &PARTS {
            self.line(&format!("  tables   market_data.{}, .{}", part.table, part.silver_table));
        }
        self.line(&format!(
            "  rejects  market_data.{}: one record in {} is bad",
            super::DLQ,
            grouped(super::feed::BAD_ONE_IN)
        ));
        self.line(&format!("  folder   {}: SQLite catalog, Parquet files, log", folder.shown().display()));
        let kills = if super::kill_times(seconds).len() == 1 { "one kill -9" } else { "two kill -9" };
        self.line(&format!("  plan     {seconds} s of trades, {kills}, then rows against the broker's receipts\n"));
    }

    /// A line that stays.
    pub(super) fn line(&mut self, text: &str) {
        self.erase();
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// Something happened: a line that stays, with the time since the start.
    pub(super) fn event(&mut self, now: Duration, text: &str) {
        let text = self.styled(text, Look::Bold);
        self.line(&format!("  {}  {text}", clock(now)));
    }

    /// A text as it looks on this screen.
    pub(super) fn styled(&self, text: &str, look: Look) -> String {
        if !self.terminal {
            return text.to_owned();
        }
        let code = match look {
            Look::Bold => 1,
            Look::Dim => 2,
            Look::Good => 32,
            Look::Bad => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Refreshes the figures.
    pub(super) fn progress(&mut self, now: Duration, seen: &[Observed], pid: Option<u32>, memory: Option<Memory>) {
        self.now = now;
        self.history.push_back(Sample {
            at: now,
            delivered: seen.iter().map(|o| o.delivered).collect(),
            silver: seen.iter().map(|o| o.silver).collect(),
        });
        while self.history.len() > 2 && self.history.front().is_some_and(|s| s.at + RATES_OVER < now) {
            self.history.pop_front();
        }
        if self.terminal {
            let block = self.block(seen, pid, memory);
            self.erase();
            self.drawn = block.lines().count();
            let _ = write!(self.out, "{block}");
            let _ = self.out.flush();
        } else if now >= self.next_plain {
            self.next_plain = now + PLAIN_EVERY;
            let line = self.plain(seen, pid, memory);
            self.line(&line);
        }
    }

    fn block(&self, seen: &[Observed], pid: Option<u32>, memory: Option<Memory>) -> String {
        let mut block = String::new();
        let head = format!(
            "  {:<8}{:>13}{:>8}{:>13}{:>13}{:>8}{:>10}",
            clock(self.now),
            "produced",
            "/s",
            "bronze",
            "silver",
            "/s",
            "lag",
        );
        let _ = writeln!(block, "\n{}", self.styled(&head, Look::Dim));
        for (index, o) in seen.iter().enumerate() {
            let _ = writeln!(
                block,
                "  {:<8}{:>13}{:>8}{:>13}{:>13}{:>8}{:>10}",
                o.name,
                grouped(o.delivered),
                grouped(self.rate(|s| s.delivered.get(index))),
                grouped(o.bronze),
                grouped(o.silver),
                grouped(self.rate(|s| s.silver.get(index))),
                grouped(o.lag),
            );
        }
        let engine = match (pid, memory) {
            (None, _) => self.styled("k2 run is down", Look::Bad),
            (Some(pid), None) => format!("k2 run, pid {pid}"),
            (Some(pid), Some(memory)) => {
                format!("k2 run, pid {pid}: {} of memory, {} at most", bytes(memory.now), bytes(memory.peak))
            }
        };
        let sum = |field: fn(&Observed) -> u64| seen.iter().map(field).sum::<u64>();
        let (size, files, commits) = (bytes(sum(|o| o.bytes)), grouped(sum(|o| o.files)), grouped(sum(|o| o.commits)));
        let note = if seen.iter().any(|o| o.held_back) { "; trades wait: the broker is full" } else { "" };
        let _ = writeln!(block, "  {engine}\n  tables {size}, {files} files, {commits} commits{note}");
        block
    }

    fn plain(&self, seen: &[Observed], pid: Option<u32>, memory: Option<Memory>) -> String {
        let sum = |field: fn(&Observed) -> u64| seen.iter().map(field).sum::<u64>();
        let rate = |field: fn(&Sample) -> &Vec<u64>| {
            (0..seen.len()).map(|index| self.rate(|s| field(s).get(index))).sum::<u64>()
        };
        let engine = match (pid, memory) {
            (None, _) => "k2 run is down".to_owned(),
            (Some(_), None) => "k2 run is up".to_owned(),
            (Some(_), Some(memory)) => format!("memory {}", bytes(memory.now)),
        };
        format!(
            "  {}  produced {} ({}/s)  bronze {}  silver {} ({}/s)  lag {}  commits {}  files {}  {engine}",
            clock(self.now),
            grouped(sum(|o| o.delivered)),
            grouped(rate(|s| &s.delivered)),
            grouped(sum(|o| o.bronze)),
            grouped(sum(|o| o.silver)),
            grouped(rate(|s| &s.silver)),
            grouped(sum(|o| o.lag)),
            grouped(sum(|o| o.commits)),
            grouped(sum(|o| o.files)),
        )
    }

    /// Per second, over the samples kept.
    fn rate<'a>(&'a self, field: impl Fn(&'a Sample) -> Option<&'a u64>) -> u64 {
        let (Some(first), Some(last)) = (self.history.front(), self.history.back()) else { return 0 };
        let millis = u64::try_from((last.at - first.at).as_millis()).unwrap_or(u64::MAX);
        match (field(first), field(last)) {
            (Some(before), Some(after)) if millis > 0 => after.saturating_sub(*before) * 1000 / millis,
            _ => 0,
        }
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            let _ = write!(self.out, "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// A count with commas.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size in MiB, with a digit after the point while it is small.
pub(super) fn bytes(size: u64) -> String {
    let tenths = size * 10 / (1 << 20);
    if tenths < 100 { format!("{}.{} MiB", tenths / 10, tenths % 10) } else { format!("{} MiB", tenths / 10) }
}

#[cfg(test)]
#[path = "screen/tests.rs"]
mod tests;
