//! `json_object(key, value, …)`: compact JSON with the keys in the order given. Integers are written exactly, null is a
//! key with `null`, text is escaped as JSON asks and otherwise left as it is. A NaN or an infinity, which JSON lacks, is `null`.

use super::{Arguments, end};
use crate::message_id::Digits;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type};
use arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use datafusion::common::{Result, exec_err};
use std::sync::Arc;

pub(super) fn json_object(args: &Arguments<'_>) -> Result<ArrayRef> {
    if args.values.len() % 2 == 1 {
        return exec_err!("json_object needs a value for every key: json_object('key', value, …)");
    }
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let columns = (1..args.values.len()).step_by(2).map(|index| args.column(index)).collect::<Result<Vec<_>>>()?;
    let fields: Vec<FieldRef> =
        columns.iter().map(|column| Arc::new(Field::new("", column.data_type().clone(), true))).collect();
    let mut members = Vec::with_capacity(columns.len());
    for (index, (column, field)) in columns.iter().zip(&fields).enumerate() {
        members.push((opening(args.literal(index * 2)?, index == 0), Value::of(column, field, &options)?));
    }

    let mut bytes = Vec::with_capacity(args.rows * 96);
    let mut ends = Vec::with_capacity(args.rows + 1);
    ends.push(0);
    for row in 0..args.rows {
        if members.is_empty() {
            bytes.push(b'{');
        }
        for (opening, value) in &mut members {
            bytes.extend_from_slice(opening);
            value.write(row, &mut bytes);
        }
        bytes.push(b'}');
        ends.push(end(bytes.len())?);
    }
    Ok(Arc::new(StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from(bytes), None)?))
}

/// What comes before a value: `{"key":` or `,"key":`.
fn opening(key: &str, first: bool) -> Vec<u8> {
    let mut bytes = vec![if first { b'{' } else { b',' }];
    write_text(key, &mut bytes);
    bytes.push(b':');
    bytes
}

/// The values of one key: the common types by hand, the rest as arrow writes them.
enum Value<'a> {
    Text(&'a StringArray),
    Long(&'a Int64Array),
    Int(&'a Int32Array),
    Boolean(&'a BooleanArray),
    Other(NullableEncoder<'a>),
}

impl<'a> Value<'a> {
    fn of(column: &'a ArrayRef, field: &'a FieldRef, options: &'a EncoderOptions) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => Self::Text(column.as_string::<i32>()),
            DataType::Int64 => Self::Long(column.as_primitive::<Int64Type>()),
            DataType::Int32 => Self::Int(column.as_primitive::<Int32Type>()),
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            _ => Self::Other(make_encoder(field, column, options)?),
        })
    }

    fn write(&mut self, row: usize, bytes: &mut Vec<u8>) {
        match self {
            Self::Text(texts) if texts.is_valid(row) => write_text(texts.value(row), bytes),
            Self::Long(numbers) if numbers.is_valid(row) => {
                bytes.extend_from_slice(Digits::of(numbers.value(row)).as_bytes())
            }
            Self::Int(numbers) if numbers.is_valid(row) => {
                bytes.extend_from_slice(Digits::of(numbers.value(row).into()).as_bytes());
            }
            Self::Boolean(flags) if flags.is_valid(row) => {
                bytes.extend_from_slice(if flags.value(row) { b"true" } else { b"false" });
            }
            Self::Other(encoder) if !encoder.is_null(row) => encoder.encode(row, bytes),
            _ => bytes.extend_from_slice(b"null"),
        }
    }
}

/// Writes a text in quotes, escaped.
fn write_text(text: &str, bytes: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    bytes.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(place) = rest.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\') {
        let (plain, escaped) = rest.split_at(place);
        bytes.extend_from_slice(plain);
        let letter = escaped[0];
        match letter {
            b'"' | b'\\' => bytes.extend_from_slice(&[b'\\', letter]),
            b'\n' => bytes.extend_from_slice(b"\\n"),
            b'\r' => bytes.extend_from_slice(b"\\r"),
            b'\t' => bytes.extend_from_slice(b"\\t"),
            _ => bytes.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(letter >> 4)],
                HEX[usize::from(letter & 15)],
            ]),
        }
        rest = &escaped[1..];
    }
    bytes.extend_from_slice(rest);
    bytes.push(b'"');
}
