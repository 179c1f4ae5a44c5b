//! Arrow rows as plain values, to be compared and to be read in a failing test.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    Time64MicrosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use k2_avro::{DecodeError, Decoder, Program, Reader, Schema};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Whole(i128),
    /// By its bits: NaN is NaN.
    Float(u32),
    Double(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Cell>),
    Map(Vec<(String, Cell)>),
    Row(Vec<(String, Cell)>),
}

impl Cell {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
    pub(crate) fn row<const N: usize>(fields: [(&str, Self); N]) -> Self {
        Self::Row(fields.map(|(name, cell)| (name.to_owned(), cell)).into())
    }
    pub(crate) fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Map(entries.map(|(key, cell)| (key.to_owned(), cell)).into())
    }
}

pub(crate) fn rows(batch: &RecordBatch) -> Vec<Cell> {
    let row = |index| {
        let schema = batch.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        Cell::Row(names.zip(batch.columns().iter().map(|column| cell(column, index))).collect())
    };
    (0..batch.num_rows()).map(row).collect()
}

fn cell(array: &dyn Array, index: usize) -> Cell {
    if array.is_null(index) {
        return Cell::Null;
    }
    let all = |items: &dyn Array| (0..items.len()).map(|index| cell(items, index)).collect::<Vec<_>>();
    match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Bool(array.as_boolean().value(index)),
        DataType::Int32 => Cell::Whole(array.as_primitive::<Int32Type>().value(index).into()),
        DataType::Date32 => Cell::Whole(array.as_primitive::<Date32Type>().value(index).into()),
        DataType::Time32(_) => Cell::Whole(array.as_primitive::<Time32MillisecondType>().value(index).into()),
        DataType::Int64 => Cell::Whole(array.as_primitive::<Int64Type>().value(index).into()),
        DataType::Time64(_) => Cell::Whole(array.as_primitive::<Time64MicrosecondType>().value(index).into()),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Cell::Whole(array.as_primitive::<TimestampMillisecondType>().value(index).into())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Cell::Whole(array.as_primitive::<TimestampMicrosecondType>().value(index).into())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Cell::Whole(array.as_primitive::<TimestampNanosecondType>().value(index).into())
        }
        DataType::Decimal128(..) => Cell::Whole(array.as_primitive::<Decimal128Type>().value(index)),
        DataType::Float32 => Cell::Float(array.as_primitive::<Float32Type>().value(index).to_bits()),
        DataType::Float64 => Cell::Double(array.as_primitive::<Float64Type>().value(index).to_bits()),
        DataType::Utf8 => Cell::text(array.as_string::<i32>().value(index)),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(index).into()),
        DataType::FixedSizeBinary(_) => Cell::Bytes(array.as_fixed_size_binary().value(index).into()),
        DataType::List(_) => Cell::List(all(&array.as_list::<i32>().value(index))),
        DataType::Map(..) => {
            let entries = array.as_map().value(index);
            let keys = entries.column(0).as_string::<i32>();
            let keys = keys.iter().map(|key| key.unwrap().to_owned());
            Cell::Map(keys.zip(all(entries.column(1))).collect())
        }
        DataType::Struct(fields) => {
            let parts = array.as_struct().columns().iter().map(|column| cell(column, index));
            Cell::Row(fields.iter().map(|field| field.name().clone()).zip(parts).collect())
        }
        other => panic!("no such column: {other}"),
    }
}

pub(crate) fn reader(schema: &str) -> Reader {
    Reader::new(&Schema::parse(schema).unwrap()).unwrap()
}

pub(crate) fn program(writer: &str, reader: &Reader) -> Program {
    Program::compile(&Schema::parse(writer).unwrap(), reader).unwrap()
}

/// A record of one field `v`, of these types.
pub(crate) fn one_field(ty: &str) -> String {
    format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "v", "type": {ty}}}]}}"#)
}

/// One body, by itself.
pub(crate) fn decode(writer: &str, reader_schema: &str, body: &[u8]) -> Result<Cell, DecodeError> {
    let reader = reader(reader_schema);
    let program = program(writer, &reader);
    decode_with(&program, &reader, body)
}

pub(crate) fn decode_with(program: &Program, reader: &Reader, body: &[u8]) -> Result<Cell, DecodeError> {
    let mut decoder = Decoder::new(reader);
    let outcome = decoder.decode(program, body);
    let rows = rows(&decoder.finish().unwrap());
    assert_eq!(rows.len(), usize::from(outcome.is_ok()), "one row or none");
    outcome.map(|()| rows[0].clone())
}

/// The value of a record's one field.
pub(crate) fn value(writer: &str, reader_schema: &str, body: &[u8]) -> Result<Cell, DecodeError> {
    let Cell::Row(fields) = decode(&one_field(writer), &one_field(reader_schema), body)? else { panic!("no row") };
    Ok(fields[0].1.clone())
}
