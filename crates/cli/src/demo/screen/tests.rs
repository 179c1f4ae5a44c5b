#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn screen(terminal: bool) -> (Screen, Shared) {
    let out = Shared::default();
    (Screen::new(Box::new(out.clone()), terminal), out)
}

fn text(out: &Shared) -> String {
    String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
}

fn seen(delivered: u64, rows: u64) -> Vec<Observed> {
    ["binance", "kraken"]
        .map(|name| Observed {
            name,
            delivered,
            lag: delivered - rows,
            bronze: rows,
            silver: rows,
            files: 2,
            bytes: 3 << 20,
            commits: 4,
            held_back: false,
        })
        .to_vec()
}

#[test]
fn plain_lines_have_no_control_characters_and_come_once_a_second() {
    let (mut screen, out) = screen(false);
    for quarter in 0..9 {
        let now = Duration::from_millis(250 * quarter);
        screen.progress(now, &seen(quarter * 25_000, quarter * 20_000), Some(7), None);
    }
    screen.event(Duration::from_secs(2), "kill -9");
    let text = text(&out);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(!text.contains('\x1b'));
    assert!(
        text.contains(
            "  0:02  produced 400,000 (200,000/s)  bronze 320,000  silver 320,000 (160,000/s)  lag 80,000  commits 8  files 4"
        ),
        "{text}"
    );
    assert!(text.ends_with("  0:02  kill -9\n"));
}

#[test]
fn a_terminal_has_one_block_below_the_lines_that_stay() {
    let (mut screen, out) = screen(true);
    let memory = Some(Memory { now: 64 << 20, peak: 65 << 20 });
    screen.progress(Duration::from_secs(1), &seen(2_000_000_000, 1_999_000_001), Some(7), memory);
    let block = text(&out);
    // narrow enough for any terminal, or it would wrap and could not be erased
    let visible = |line: &str| line.replace("\x1b[2m", "").replace("\x1b[0m", "").chars().count();
    assert!(block.lines().all(|line| visible(line) < 80), "{block}");
    let height = block.lines().count();
    screen.event(Duration::from_secs(1), "kill -9");
    screen.progress(Duration::from_secs(2), &seen(20, 10), None, None);
    let rest = text(&out).split_off(block.len());
    assert!(rest.starts_with(&format!("\x1b[{height}A\x1b[J  0:01  \x1b[1mkill -9")), "{rest:?}");
    assert!(rest.contains("k2 run is down"));
}

#[test]
fn numbers_are_easy_to_read() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([0, 1_600_000, 100 << 20].map(bytes), ["0.0 MiB", "1.5 MiB", "100 MiB"]);
    assert_eq!([5, 65].map(|s| clock(Duration::from_secs(s))), ["0:05", "1:05"]);
}
