//! Bytes as a person reads them: 16 a line, in hexadecimal and as text, with one place marked.

use std::ops::Range;

const LINE: usize = 16;
/// Lines at the beginning, and on either side of the mark, that are shown of what is long.
const HEAD: usize = 16;
const AROUND: usize = 4;

/// Lines of `>` (with the mark), place, bytes and text. The mark is in brackets; one at the end of the bytes, where
/// something is missing, is `[--]`. What is long and not `full` is cut where nothing is marked.
pub(super) fn view(bytes: &[u8], mark: Option<&Range<usize>>, full: bool) -> Vec<String> {
    // an empty mark stands on the byte that is not there
    let mark = mark.map(|m| m.start..m.end.max(m.start + 1));
    let cells = bytes.len().max(mark.as_ref().map_or(0, |m| m.start + 1));
    let lines = cells.div_ceil(LINE);
    let marked = mark.as_ref().map(|m| m.start / LINE..(m.end - 1).min(cells.saturating_sub(1)) / LINE + 1);
    let near = |line: usize| {
        let by_mark = marked.as_ref().is_some_and(|m| {
            let end = m.end.min(m.start + HEAD);
            (m.start.saturating_sub(AROUND)..end + AROUND).contains(&line)
        });
        full || lines <= 2 * HEAD || line < HEAD || by_mark
    };
    let mut text = Vec::new();
    let mut left_out = 0;
    for line in 0..lines {
        if near(line) {
            text.extend(gap(left_out));
            left_out = 0;
            let has_mark = marked.as_ref().is_some_and(|m| m.contains(&line));
            text.push(one(bytes, line * LINE, mark.as_ref(), has_mark));
        } else {
            left_out += LINE.min(bytes.len() - line * LINE);
        }
    }
    text.extend(gap(left_out));
    text
}

fn gap(bytes: usize) -> Option<String> {
    (bytes > 0).then(|| format!("  … {bytes} bytes …"))
}

fn one(bytes: &[u8], start: usize, mark: Option<&Range<usize>>, has_mark: bool) -> String {
    let mut hex = String::new();
    for at in start..=start + LINE {
        hex.push(match mark {
            Some(mark) if mark.start == at => '[',
            Some(mark) if mark.end == at && at > start => ']',
            _ => ' ',
        });
        if at < start + LINE {
            hex += &match bytes.get(at) {
                Some(byte) => format!("{byte:02x}"),
                None if mark.is_some_and(|mark| mark.start == at) => "--".to_owned(),
                None => "  ".to_owned(),
            };
        }
    }
    let text: String = bytes
        .iter()
        .skip(start)
        .take(LINE)
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
        .collect();
    format!("{} {start:08x} {hex} |{text}|", if has_mark { '>' } else { ' ' })
}

/// All bytes in one word.
pub(super) fn word(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "hex/tests.rs"]
mod tests;
