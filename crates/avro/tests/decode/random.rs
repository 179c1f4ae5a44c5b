//! Random schemas, values and bodies. All from one number, so that a failing case is one number.

use super::rows::Cell;
use apache_avro::types::Value;
use std::fmt::Write;

/// A generator of numbers (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    /// Numbers of every size.
    fn long(&mut self) -> i64 {
        let bits = self.below(64);
        self.next().cast_signed() >> bits
    }
    fn int(&mut self) -> i32 {
        i32::try_from(self.long() >> 32).unwrap()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ty {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    LocalTimestampMicros,
    /// Of bytes: precision, scale.
    Decimal(u32, u32),
    /// Of a fixed: size, precision, scale.
    DecimalFixed(usize, u32, u32),
    Fixed(usize),
    /// Symbols, default.
    Enum(Vec<String>, Option<String>),
    Array(Box<Ty>),
    Map(Box<Ty>),
    Record(Vec<Field>),
    Union(Vec<Ty>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: Ty,
    /// JSON.
    pub(crate) default: Option<&'static str>,
}

/// A record.
pub(crate) fn record(dice: &mut Dice, depth: usize) -> Ty {
    let fields = (0..dice.below(6)).map(|n| Field { name: format!("f{n}"), ty: any(dice, depth), default: None });
    Ty::Record(fields.collect())
}

fn any(dice: &mut Dice, depth: usize) -> Ty {
    if depth == 0 || dice.one_in(2) {
        return leaf(dice);
    }
    match dice.below(5) {
        0 => Ty::Array(Box::new(any(dice, depth - 1))),
        1 => Ty::Map(Box::new(any(dice, depth - 1))),
        2 => record(dice, depth - 1),
        3 => {
            let inner = not_union(dice, depth - 1);
            if inner == Ty::Null { inner } else { Ty::Union(vec![Ty::Null, inner]) }
        }
        _ => {
            let mut members: Vec<Ty> = Vec::new();
            for _ in 0..1 + dice.below(4) {
                let member = not_union(dice, depth - 1);
                // names follow from where a type stands: one named type at most
                let alike = |other: &Ty| {
                    other.base() == member.base()
                        || other.is_named() && member.is_named()
                        || other.is_confused_with(&member)
                        || member.is_confused_with(other)
                };
                if !members.iter().any(alike) {
                    members.push(member);
                }
            }
            Ty::Union(members)
        }
    }
}

fn not_union(dice: &mut Dice, depth: usize) -> Ty {
    loop {
        let ty = any(dice, depth);
        if !matches!(ty, Ty::Union(_)) {
            return ty;
        }
    }
}

fn leaf(dice: &mut Dice) -> Ty {
    match dice.below(20) {
        0 => Ty::Null,
        1 => Ty::Boolean,
        2 => Ty::Int,
        3 | 4 => Ty::Long,
        5 => Ty::Float,
        6 => Ty::Double,
        7 => Ty::Bytes,
        8 | 9 => Ty::String,
        10 => Ty::Date,
        11 => Ty::TimeMillis,
        12 => Ty::TimeMicros,
        13 => Ty::TimestampMillis,
        14 => Ty::TimestampMicros,
        15 => Ty::TimestampNanos,
        16 => Ty::LocalTimestampMicros,
        17 => Ty::Fixed(dice.below(20)),
        18 => Ty::Enum((0..1 + dice.below(4)).map(|n| format!("S{n}")).collect(), None),
        _ if dice.one_in(2) => Ty::Decimal(18, 4),
        _ => Ty::DecimalFixed(10, 22, 8),
    }
}

impl Ty {
    fn is_named(&self) -> bool {
        matches!(self, Self::Fixed(_) | Self::DecimalFixed(..) | Self::Enum(..) | Self::Record(_))
    }

    /// apache-avro allows one decimal in a union, whatever is beneath, and takes a fixed for whatever is made of bytes.
    fn is_fixed(&self) -> bool {
        matches!(self, Self::Decimal(..) | Self::DecimalFixed(..) | Self::Fixed(_))
    }
    fn is_confused_with(&self, other: &Self) -> bool {
        self.is_fixed() && (other.is_fixed() || matches!(other, Self::String | Self::Bytes))
    }

    /// Whether there is a union of more than null and a type in it.
    pub(crate) fn chooses(&self) -> bool {
        match self {
            Self::Union(members) => {
                members.len() != 2 || !members.contains(&Self::Null) || members.iter().any(Self::chooses)
            }
            Self::Array(of) | Self::Map(of) => of.chooses(),
            Self::Record(fields) => fields.iter().any(|field| field.ty.chooses()),
            _ => false,
        }
    }

    /// The type's name in a schema.
    fn base(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int | Self::Date | Self::TimeMillis => "int",
            Self::Long | Self::TimeMicros | Self::TimestampMillis | Self::TimestampMicros => "long",
            Self::TimestampNanos | Self::LocalTimestampMicros => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes | Self::Decimal(..) => "bytes",
            Self::String => "string",
            Self::Fixed(_) | Self::DecimalFixed(..) => "fixed",
            Self::Enum(..) => "enum",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Record(_) => "record",
            Self::Union(_) => "union",
        }
    }

    fn logical(&self) -> Option<&'static str> {
        Some(match self {
            Self::Date => "date",
            Self::TimeMillis => "time-millis",
            Self::TimeMicros => "time-micros",
            Self::TimestampMillis => "timestamp-millis",
            Self::TimestampMicros => "timestamp-micros",
            Self::TimestampNanos => "timestamp-nanos",
            Self::LocalTimestampMicros => "local-timestamp-micros",
            _ => return None,
        })
    }

    /// As JSON. Named types are named by where they stand.
    pub(crate) fn schema(&self, place: &str) -> String {
        let base = self.base();
        match self {
            Self::Decimal(precision, scale) => {
                format!(r#"{{"type": "bytes", "logicalType": "decimal", "precision": {precision}, "scale": {scale}}}"#)
            }
            Self::DecimalFixed(size, precision, scale) => format!(
                r#"{{"type": "fixed", "name": "N{place}", "size": {size}, "logicalType": "decimal", "precision": {precision}, "scale": {scale}}}"#
            ),
            Self::Fixed(size) => format!(r#"{{"type": "fixed", "name": "N{place}", "size": {size}}}"#),
            Self::Enum(symbols, default) => {
                let default = default.as_ref().map(|d| format!(r#", "default": "{d}""#)).unwrap_or_default();
                format!(r#"{{"type": "enum", "name": "N{place}", "symbols": {symbols:?}{default}}}"#)
            }
            Self::Array(item) => format!(r#"{{"type": "array", "items": {}}}"#, item.schema(&format!("{place}_i"))),
            Self::Map(of) => format!(r#"{{"type": "map", "values": {}}}"#, of.schema(&format!("{place}_v"))),
            Self::Union(members) => {
                let members: Vec<_> = members.iter().map(|member| member.schema(place)).collect();
                format!("[{}]", members.join(", "))
            }
            Self::Record(fields) => {
                let mut text = format!(r#"{{"type": "record", "name": "N{place}", "fields": ["#);
                for (index, field) in fields.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    let ty = field.ty.schema(&format!("{place}_{}", field.name));
                    write!(text, r#"{comma}{{"name": "{}", "type": {ty}"#, field.name).unwrap();
                    if let Some(default) = field.default {
                        write!(text, r#", "default": {default}"#).unwrap();
                    }
                    text.push('}');
                }
                text + "]}"
            }
            _ => match self.logical() {
                Some(logical) => format!(r#"{{"type": "{base}", "logicalType": "{logical}"}}"#),
                None => format!("\"{base}\""),
            },
        }
    }

    pub(crate) fn value(&self, dice: &mut Dice) -> Value {
        let few = |dice: &mut Dice| if dice.one_in(20) { 200 } else { dice.below(4) };
        match self {
            Self::Null => Value::Null,
            Self::Boolean => Value::Boolean(dice.one_in(2)),
            Self::Int => Value::Int(dice.int()),
            Self::Long => Value::Long(dice.long()),
            Self::Float => Value::Float(f32::from_bits(u32::try_from(dice.next() >> 32).unwrap())),
            Self::Double => Value::Double(f64::from_bits(dice.next())),
            Self::Bytes => Value::Bytes(bytes(dice)),
            Self::String => Value::String(text(dice)),
            Self::Date => Value::Date(dice.int()),
            Self::TimeMillis => Value::TimeMillis(dice.int()),
            Self::TimeMicros => Value::TimeMicros(dice.long()),
            Self::TimestampMillis => Value::TimestampMillis(dice.long()),
            Self::TimestampMicros => Value::TimestampMicros(dice.long()),
            Self::TimestampNanos => Value::TimestampNanos(dice.long()),
            Self::LocalTimestampMicros => Value::LocalTimestampMicros(dice.long()),
            // enough bytes for the precision, or apache-avro refuses it
            Self::Decimal(..) => Value::Decimal(decimal(dice, 8)),
            Self::DecimalFixed(size, ..) => Value::Decimal(decimal(dice, *size)),
            Self::Fixed(size) => {
                Value::Fixed(*size, (0..*size).map(|_| u8::try_from(dice.below(256)).unwrap()).collect())
            }
            Self::Enum(symbols, _) => {
                let index = dice.below(symbols.len());
                Value::Enum(u32::try_from(index).unwrap(), symbols[index].clone())
            }
            Self::Array(item) => Value::Array((0..few(dice)).map(|_| item.value(dice)).collect()),
            Self::Map(of) => Value::Map((0..few(dice)).map(|n| (format!("k{n}ä"), of.value(dice))).collect()),
            Self::Record(fields) => {
                Value::Record(fields.iter().map(|field| (field.name.clone(), field.ty.value(dice))).collect())
            }
            Self::Union(members) => {
                let index = dice.below(members.len());
                Value::Union(u32::try_from(index).unwrap(), Box::new(members[index].value(dice)))
            }
        }
    }

    /// The value by our own hand: arrays and maps in blocks of any size, with and without their size in bytes.
    pub(crate) fn encode(&self, value: &Value, dice: &mut Dice, out: &mut Vec<u8>) {
        match (self, value) {
            (Self::Array(item), Value::Array(items)) => {
                blocks(items, dice, out, |value, dice, out| item.encode(value, dice, out));
            }
            (Self::Map(of), Value::Map(entries)) => {
                let entries: Vec<_> = entries.iter().collect();
                blocks(&entries, dice, out, |(key, value), dice, out| {
                    long(i64::try_from(key.len()).unwrap(), out);
                    out.extend(key.as_bytes());
                    of.encode(value, dice, out);
                });
            }
            (Self::Record(fields), Value::Record(values)) => {
                for (field, (_, value)) in fields.iter().zip(values) {
                    field.ty.encode(value, dice, out);
                }
            }
            (Self::Union(members), Value::Union(index, value)) => {
                long(i64::from(*index), out);
                members[usize::try_from(*index).unwrap()].encode(value, dice, out);
            }
            _ => {
                let schema = apache_avro::Schema::parse_str(&self.schema("x")).unwrap();
                out.extend(apache_avro::to_avro_datum(&schema, value.clone()).unwrap());
            }
        }
    }

    /// What a value of this type, as apache-avro has it, is in Arrow.
    pub(crate) fn cell(&self, value: &Value) -> Cell {
        match (self, value) {
            (Self::Union(members), Value::Union(index, value)) => {
                let index = usize::try_from(*index).unwrap();
                let (chosen, others) = (&members[index], members.len() - 1);
                let nullable = others == 1 && members.contains(&Self::Null);
                match chosen {
                    Self::Null => Cell::Null,
                    chosen if nullable => chosen.cell(value),
                    _ => {
                        let set = members.iter().enumerate().filter(|(_, member)| **member != Self::Null);
                        let cells = set.map(|(at, member)| {
                            (member.member_name(), if at == index { member.cell(value) } else { Cell::Null })
                        });
                        Cell::Row(cells.collect())
                    }
                }
            }
            (Self::Array(item), Value::Array(items)) => {
                Cell::List(items.iter().map(|value| item.cell(value)).collect())
            }
            (Self::Map(of), Value::Map(entries)) => {
                let mut cells: Vec<_> = entries.iter().map(|(key, value)| (key.clone(), of.cell(value))).collect();
                cells.sort_by(|a, b| a.0.cmp(&b.0));
                Cell::Map(cells)
            }
            (Self::Record(fields), Value::Record(values)) => {
                let cells = fields.iter().zip(values).map(|(field, (name, value))| {
                    assert_eq!(&field.name, name);
                    (name.clone(), field.ty.cell(value))
                });
                Cell::Row(cells.collect())
            }
            (_, Value::Null) => Cell::Null,
            (_, Value::Boolean(value)) => Cell::Bool(*value),
            (_, Value::Int(n) | Value::Date(n) | Value::TimeMillis(n)) => Cell::Whole((*n).into()),
            (_, Value::Long(n) | Value::TimeMicros(n) | Value::TimestampMillis(n)) => Cell::Whole((*n).into()),
            (_, Value::TimestampMicros(n) | Value::TimestampNanos(n) | Value::LocalTimestampMicros(n)) => {
                Cell::Whole((*n).into())
            }
            (_, Value::Float(value)) => Cell::Float(value.to_bits()),
            (_, Value::Double(value)) => Cell::Double(value.to_bits()),
            (_, Value::String(text) | Value::Enum(_, text)) => Cell::text(text),
            (_, Value::Bytes(bytes) | Value::Fixed(_, bytes)) => Cell::Bytes(bytes.clone()),
            (_, Value::Decimal(decimal)) => {
                let bytes = Vec::<u8>::try_from(decimal.clone()).unwrap();
                let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
                let mut whole = [if negative { 0xff } else { 0 }; 16];
                whole[16 - bytes.len()..].copy_from_slice(&bytes);
                Cell::Whole(i128::from_be_bytes(whole))
            }
            (ty, value) => panic!("{value:?} is no {ty:?}"),
        }
    }

    /// Of a union's struct: the short name of the type. Named types are checked by position, their names differ by
    /// place.
    fn member_name(&self) -> String {
        if self.is_named() { "?".to_owned() } else { self.base().to_owned() }
    }
}

/// Names of union members that follow from where a type stands, away; entries of maps in order.
pub(crate) fn comparable(cell: Cell) -> Cell {
    match cell {
        Cell::Row(fields) => Cell::Row(
            fields
                .into_iter()
                .map(|(name, cell)| (if name.starts_with('N') { "?".to_owned() } else { name }, comparable(cell)))
                .collect(),
        ),
        Cell::List(items) => Cell::List(items.into_iter().map(comparable).collect()),
        Cell::Map(entries) => {
            let mut entries: Vec<_> = entries.into_iter().map(|(key, cell)| (key, comparable(cell))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Cell::Map(entries)
        }
        other => other,
    }
}

fn blocks<T>(items: &[T], dice: &mut Dice, out: &mut Vec<u8>, encode: impl Fn(&T, &mut Dice, &mut Vec<u8>)) {
    let mut rest = items;
    while !rest.is_empty() {
        let (block, after) = rest.split_at(1 + dice.below(rest.len()));
        let mut body = Vec::new();
        block.iter().for_each(|item| encode(item, dice, &mut body));
        let count = i64::try_from(block.len()).unwrap();
        if dice.one_in(2) {
            long(-count, out);
            long(i64::try_from(body.len()).unwrap(), out);
        } else {
            long(count, out);
        }
        out.extend(body);
        rest = after;
    }
    long(0, out);
}

pub(crate) fn long(value: i64, out: &mut Vec<u8>) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw >= 0x80 {
        out.push(u8::try_from(raw & 0x7f).unwrap() | 0x80);
        raw >>= 7;
    }
    out.push(u8::try_from(raw).unwrap());
}

fn bytes(dice: &mut Dice) -> Vec<u8> {
    let length = if dice.one_in(10) { 300 } else { dice.below(12) };
    if dice.one_in(2) {
        // often UTF-8: bytes may become a string
        return text(dice).into_bytes();
    }
    (0..length).map(|_| u8::try_from(dice.below(256)).unwrap()).collect()
}

fn text(dice: &mut Dice) -> String {
    const CHARS: [char; 12] = ['a', 'b', 'Z', '0', '.', ' ', '"', 'ä', 'ß', '日', '\u{1F600}', '\0'];
    let length = if dice.one_in(10) { 300 } else { dice.below(12) };
    let plain = dice.one_in(2);
    (0..length).map(|_| CHARS[dice.below(if plain { 7 } else { CHARS.len() })]).collect()
}

fn decimal(dice: &mut Dice, size: usize) -> apache_avro::Decimal {
    // three bytes of number, the rest repeats its sign
    let number = i32::try_from(dice.long() >> 41).unwrap().to_be_bytes();
    let mut bytes = vec![if number[0] & 0x80 != 0 { 0xff } else { 0 }; size];
    bytes[size - 4..].copy_from_slice(&number);
    apache_avro::Decimal::from(bytes)
}
