//! Cuts text into statements at its semicolons, leaving those in quotes and comments alone.

/// The finished statements of a text, without their semicolons, and what follows the last one.
pub fn statements(text: &str) -> (Vec<&str>, &str) {
    let mut done = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b';', _) => {
                let statement = text[start..at].trim();
                if !is_blank(statement) {
                    done.push(statement);
                }
                start = at + 1;
                at += 1;
            }
            // a doubled quote closes and opens again: the same
            (quote @ (b'\'' | b'"' | b'`'), _) => at = find(bytes, at + 1, &[quote]),
            (b'-', Some(b'-')) => at = find(bytes, at + 2, b"\n"),
            (b'/', Some(b'*')) => at = find(bytes, at + 2, b"*/"),
            _ => at += 1,
        }
    }
    (done, text[start..].trim())
}

/// Nothing in it but comments.
pub fn is_blank(statement: &str) -> bool {
    let mut rest = statement.trim_start();
    loop {
        let end = if rest.starts_with("--") {
            find(rest.as_bytes(), 2, b"\n")
        } else if rest.starts_with("/*") {
            find(rest.as_bytes(), 2, b"*/")
        } else {
            return rest.is_empty();
        };
        rest = rest[end..].trim_start();
    }
}

/// Behind the next `needle`, or the end.
fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let from = from.min(bytes.len());
    bytes[from..]
        .windows(needle.len())
        .position(|window| window == needle)
        .map_or(bytes.len(), |found| from + found + needle.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        for (text, done, rest) in [
            ("", vec![], ""),
            ("SELECT 1", vec![], "SELECT 1"),
            ("SELECT 1;", vec!["SELECT 1"], ""),
            ("a; b ;c", vec!["a", "b"], "c"),
            ("SELECT ';' , \"x;\", `y;`; z", vec!["SELECT ';' , \"x;\", `y;`"], "z"),
            ("SELECT 'it''s;'; z", vec!["SELECT 'it''s;'"], "z"),
            ("-- a;\nb; /* c; */ d;", vec!["-- a;\nb", "/* c; */ d"], ""),
            (";; -- nothing\n;", vec![], ""),
            ("SELECT 'ä;é'; ü", vec!["SELECT 'ä;é'"], "ü"),
            ("SELECT 'open;", vec![], "SELECT 'open;"),
        ] {
            assert_eq!(statements(text), (done, rest), "{text}");
        }
    }
}
