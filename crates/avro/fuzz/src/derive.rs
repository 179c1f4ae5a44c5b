//! Bytes into a pair of schemas that might resolve. Every sequence of bytes is a pair, so a mutation of one is another.

const DEPTH: usize = 4;

/// A writer and a reader. Takes the bytes that it has used.
pub(crate) fn pair(bytes: &mut &[u8]) -> (String, String) {
    let mut derive = Derive { bytes, names: 0 };
    derive.record(0)
}

struct Derive<'a, 'b> {
    bytes: &'a mut &'b [u8],
    /// Names given so far: they are numbered in both schemas alike.
    names: usize,
}

impl Derive<'_, '_> {
    /// 0 when there are no more.
    fn next(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((&byte, rest)) => {
                *self.bytes = rest;
                byte
            }
            None => 0,
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("N{}", self.names)
    }

    fn record(&mut self, depth: usize) -> (String, String) {
        let name = self.name();
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for index in 0..self.next() % 6 {
            let (writer, reader) = self.any(depth + 1);
            from.push(format!(r#"{{"name": "f{index}", "type": {writer}}}"#));
            match self.next() {
                0..200 => to.push(format!(r#"{{"name": "f{index}", "type": {reader}}}"#)),
                200..220 => {
                    to.insert(0, format!(r#"{{"name": "g{index}", "aliases": ["f{index}"], "type": {reader}}}"#))
                }
                220..240 => to.push(format!(r#"{{"name": "h{index}", "type": "string", "default": "more"}}"#)),
                _ => {}
            }
        }
        let record =
            |fields: &[String]| format!(r#"{{"type": "record", "name": "{name}", "fields": [{}]}}"#, fields.join(","));
        (record(&from), record(&to))
    }

    fn any(&mut self, depth: usize) -> (String, String) {
        let byte = self.next();
        let nest = depth < DEPTH;
        let both = |text: &str| (text.to_owned(), text.to_owned());
        let logical = |ty: &str, name: &str| both(&format!(r#"{{"type": "{ty}", "logicalType": "{name}"}}"#));
        match byte % 24 {
            0 => both("\"long\""),
            1 => both("\"string\""),
            2 => both("\"boolean\""),
            3 => both("\"int\""),
            4 => both("\"double\""),
            5 => both("\"bytes\""),
            6 => both("\"float\""),
            7 => both("\"null\""),
            8 => ("\"int\"".to_owned(), ["\"long\"", "\"float\"", "\"double\""][usize::from(byte / 24) % 3].to_owned()),
            9 => ("\"long\"".to_owned(), ["\"float\"", "\"double\""][usize::from(byte / 24) % 2].to_owned()),
            10 => ("\"string\"".to_owned(), "\"bytes\"".to_owned()),
            11 => ("\"bytes\"".to_owned(), "\"string\"".to_owned()),
            12 => logical("int", "date"),
            13 => logical("long", ["timestamp-millis", "timestamp-micros", "time-micros"][usize::from(byte / 24) % 3]),
            14 => both(r#"{"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}"#),
            15 => {
                let (name, size) = (self.name(), byte / 24);
                both(&format!(r#"{{"type": "fixed", "name": "{name}", "size": {size}}}"#))
            }
            16 => {
                let name = self.name();
                let of = |symbols: &str| format!(r#"{{"type": "enum", "name": "{name}", "symbols": [{symbols}]}}"#);
                (of(r#""A", "B", "C""#), of(r#""B", "A""#))
            }
            17 => self.nullable(depth),
            18 | 19 if nest => self.around(depth, "array", "items"),
            20 if nest => self.around(depth, "map", "values"),
            21 if nest => self.record(depth),
            22 if nest => self.union(depth),
            _ => self.nullable(depth),
        }
    }

    fn around(&mut self, depth: usize, ty: &str, key: &str) -> (String, String) {
        let (writer, reader) = self.any(depth + 1);
        let of = |inner: &str| format!(r#"{{"type": "{ty}", "{key}": {inner}}}"#);
        (of(&writer), of(&reader))
    }

    /// Null or something, on the writer's side, the reader's or both.
    fn nullable(&mut self, depth: usize) -> (String, String) {
        let byte = self.next();
        let (writer, reader) =
            if depth < DEPTH && byte.is_multiple_of(2) { self.record(depth) } else { both_long(byte) };
        let or_null = |ty: &str| format!(r#"["null", {ty}]"#);
        match byte % 3 {
            0 => (or_null(&writer), or_null(&reader)),
            1 => (writer, or_null(&reader)),
            _ => (or_null(&writer), reader),
        }
    }

    fn union(&mut self, depth: usize) -> (String, String) {
        let (record, wanted) = self.record(depth + 1);
        let order = self.next() % 3;
        let from = format!(r#"["null", "int", {record}, "string"]"#);
        let to = match order {
            0 => format!(r#"["string", {wanted}, "null", "long"]"#),
            1 => format!(r#"[{wanted}, "long"]"#),
            _ => from.clone(),
        };
        (from, to)
    }
}

fn both_long(byte: u8) -> (String, String) {
    let reader = if byte > 127 { "\"double\"" } else { "\"long\"" };
    ("\"long\"".to_owned(), reader.to_owned())
}
