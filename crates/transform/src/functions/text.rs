//! Functions about text.

use super::{Arguments, end};
use crate::message_id::{self, Digits};
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListArray, NullBufferBuilder,
    StringArray, StringBuilder,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use datafusion::common::Result;
use std::fmt::Write;
use std::sync::Arc;
use uuid::Uuid;

/// True for an empty text and for one of nothing but white space (Unicode's).
pub(super) fn is_blank(args: &Arguments<'_>) -> Result<ArrayRef> {
    let blank = |text: &str| text.chars().all(char::is_whitespace);
    Ok(Arc::new(args.text(0)?.iter().map(|text| text.map(blank)).collect::<BooleanArray>()))
}

/// What is before the first separator; the whole text if there is none.
pub(super) fn text_before(args: &Arguments<'_>) -> Result<ArrayRef> {
    let separator = args.literal(1)?;
    Ok(map_text(&args.text(0)?, |text| Some(text.split_once(separator).map_or(text, |(before, _)| before))))
}

/// What is after the first separator; null if there is none.
pub(super) fn text_after(args: &Arguments<'_>) -> Result<ArrayRef> {
    let separator = args.literal(1)?;
    Ok(map_text(&args.text(0)?, |text| text.split_once(separator).map(|(_, after)| after)))
}

/// The longest of the given assets that a symbol ends with; null if it ends with none.
pub(super) fn quote_asset(args: &Arguments<'_>) -> Result<ArrayRef> {
    let mut assets = (1..args.values.len()).map(|index| args.literal(index)).collect::<Result<Vec<_>>>()?;
    assets.sort_by_key(|asset| std::cmp::Reverse(asset.len()));
    Ok(map_text(&args.text(0)?, |symbol| assets.iter().find(|asset| symbol.ends_with(**asset)).copied()))
}

fn map_text<'a>(texts: &'a StringArray, part: impl Fn(&'a str) -> Option<&'a str>) -> ArrayRef {
    let mut parts = StringBuilder::with_capacity(texts.len(), texts.len() * 8);
    for text in texts {
        parts.append_option(text.and_then(&part));
    }
    Arc::new(parts.finish())
}

/// The arguments one after the other, as text; null if one is null.
pub(super) fn join_text(args: &Arguments<'_>) -> Result<ArrayRef> {
    let columns = args.values.iter().map(|value| value.to_array(args.rows)).collect::<Result<Vec<_>>>()?;
    let parts = columns.iter().map(Part::of).collect::<Result<Vec<_>>>()?;
    let mut bytes = Vec::with_capacity(args.rows * 24);
    let mut ends = Vec::with_capacity(args.rows + 1);
    let mut present = NullBufferBuilder::new(args.rows);
    ends.push(0);
    for row in 0..args.rows {
        let whole = parts.iter().all(|part| part.is_valid(row));
        if whole {
            for part in &parts {
                part.write(row, &mut bytes);
            }
        }
        present.append(whole);
        ends.push(end(bytes.len())?);
    }
    let ends = OffsetBuffer::new(ends.into());
    Ok(Arc::new(StringArray::try_new(ends, Buffer::from(bytes), present.finish())?))
}

/// One argument of [`join_text`].
enum Part {
    Text(StringArray),
    Long(Int64Array),
    Int(Int32Array),
}

impl Part {
    fn of(column: &ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Int64 => Self::Long(column.as_primitive::<Int64Type>().clone()),
            DataType::Int32 => Self::Int(column.as_primitive::<Int32Type>().clone()),
            DataType::Utf8 => Self::Text(column.as_string::<i32>().clone()),
            _ => Self::Text(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Text(texts) => texts.is_valid(row),
            Self::Long(numbers) => numbers.is_valid(row),
            Self::Int(numbers) => numbers.is_valid(row),
        }
    }

    fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        match self {
            Self::Text(texts) => bytes.extend_from_slice(texts.value(row).as_bytes()),
            Self::Long(numbers) => bytes.extend_from_slice(Digits::of(numbers.value(row)).as_bytes()),
            Self::Int(numbers) => bytes.extend_from_slice(Digits::of(numbers.value(row).into()).as_bytes()),
        }
    }
}

/// A list of the arguments; null if one is null.
pub(super) fn text_list(args: &Arguments<'_>) -> Result<ArrayRef> {
    let columns = (0..args.values.len()).map(|index| args.text(index)).collect::<Result<Vec<_>>>()?;
    let mut elements = StringBuilder::with_capacity(args.rows * columns.len(), args.rows * columns.len() * 8);
    let mut ends = Vec::with_capacity(args.rows + 1);
    let mut present = NullBufferBuilder::new(args.rows);
    ends.push(0);
    for row in 0..args.rows {
        let whole = columns.iter().all(|column| column.is_valid(row));
        if whole {
            for column in &columns {
                elements.append_value(column.value(row));
            }
        }
        present.append(whole);
        ends.push(end(elements.len())?);
    }
    let element = Arc::new(Field::new("element", DataType::Utf8, false));
    let ends = OffsetBuffer::new(ends.into());
    Ok(Arc::new(ListArray::try_new(element, ends, Arc::new(elements.finish()), present.finish())?))
}

/// How much of a value a message shows.
const SHOWN: usize = 100;

/// A value as a message shows it: text in quotes, with its control characters escaped, cut where it is long; null as `null`.
pub(super) fn shown(args: &Arguments<'_>) -> Result<ArrayRef> {
    let column = args.column(0)?;
    let quoted = matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let texts = cast(&column, &DataType::Utf8)?;
    let mut result = StringBuilder::new();
    for text in texts.as_string::<i32>() {
        result.append_value(match text {
            None => "null".to_owned(),
            Some(text) if quoted => quote(text),
            Some(text) => text.to_owned(),
        });
    }
    Ok(Arc::new(result.finish()))
}

/// A text in quotes, cut where it is long.
fn quote(text: &str) -> String {
    let mut shown = String::from("\"");
    for (index, letter) in text.chars().enumerate() {
        if index == SHOWN {
            let _ = write!(shown, "…\" ({} bytes)", text.len());
            return shown;
        }
        match letter {
            '"' | '\\' => shown.extend(['\\', letter]),
            _ if letter.is_control() => shown.extend(letter.escape_default()),
            _ => shown.push(letter),
        }
    }
    shown.push('"');
    shown
}

/// The UUIDv5 of a name in a namespace, as text; null if the namespace is no UUID.
pub(super) fn uuid5(args: &Arguments<'_>) -> Result<ArrayRef> {
    let (namespaces, names) = (args.text(0)?, args.text(1)?);
    let mut ids = StringBuilder::with_capacity(args.rows, args.rows * 36);
    for (namespace, name) in namespaces.iter().zip(&names) {
        let id = namespace.and_then(|namespace| Uuid::try_parse(namespace).ok()).zip(name);
        match id.map(|(namespace, name)| message_id::uuid5(&namespace, name.as_bytes())) {
            Some(id) => ids.append_value(std::str::from_utf8(&id).unwrap_or_default()),
            None => ids.append_null(),
        }
    }
    Ok(Arc::new(ids.finish()))
}
