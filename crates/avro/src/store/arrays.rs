//! The vectors of a batch into Arrow arrays.

use super::{Slot, Store};
use crate::reader::{ColumnId, Layout, Shape};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time32MillisecondType, Time64MicrosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, MapArray, NullArray, PrimitiveArray,
    StringArray, StructArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Fields, TimeUnit};
use std::sync::Arc;

impl Store {
    /// Takes a column and all beneath it, which leaves them empty.
    pub(crate) fn take(&mut self, layout: &Layout, id: ColumnId) -> Result<ArrayRef, ArrowError> {
        let column = layout.column(id);
        let ty = column.field.data_type();
        Ok(match &column.shape {
            Shape::Null(slot) => Arc::new(NullArray::new(self.nulls[slot.index()].take().0)),
            Shape::Boolean(slot) => {
                let (values, nulls) = self.booleans[slot.index()].take();
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            Shape::Int(slot) => self.int(*slot, ty)?,
            Shape::Long(slot) => self.long(*slot, ty)?,
            Shape::Float(slot) => primitive::<Float32Type>(self.floats[slot.index()].take(), ty)?,
            Shape::Double(slot) => primitive::<Float64Type>(self.doubles[slot.index()].take(), ty)?,
            Shape::Decimal(slot, _) => primitive::<Decimal128Type>(self.decimals[slot.index()].take(), ty)?,
            Shape::Bytes(slot) => {
                let (offsets, bytes, nulls) = self.bytes[slot.index()].take();
                let bytes = Buffer::from_vec(bytes);
                match ty {
                    DataType::Utf8 => Arc::new(StringArray::try_new(offsets, bytes, nulls)?),
                    _ => Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?),
                }
            }
            Shape::Fixed(slot, size) => {
                let (bytes, nulls) = self.fixeds[slot.index()].take();
                let size = i32::try_from(*size).map_err(|e| ArrowError::InvalidArgumentError(e.to_string()))?;
                Arc::new(FixedSizeBinaryArray::try_new(size, Buffer::from_vec(bytes), nulls)?)
            }
            Shape::List { slot, item } => {
                let (offsets, nulls) = self.lists[slot.index()].take();
                let items = self.take(layout, *item)?;
                Arc::new(ListArray::try_new(Arc::clone(&layout.column(*item).field), offsets, items, nulls)?)
            }
            Shape::Map { slot, key, value } => {
                let (offsets, nulls) = self.lists[slot.index()].take();
                let parts = vec![self.take(layout, *key)?, self.take(layout, *value)?];
                let DataType::Map(entries, _) = ty else { return Err(not_of(ty)) };
                let DataType::Struct(fields) = entries.data_type() else { return Err(not_of(ty)) };
                let rows = StructArray::try_new(fields.clone(), parts, None)?;
                Arc::new(MapArray::try_new(Arc::clone(entries), offsets, rows, nulls, false)?)
            }
            Shape::Record { slot, fields: parts } | Shape::Union { slot, members: parts } => {
                let (len, nulls) = self.rows[slot.index()].take();
                let DataType::Struct(fields) = ty else { return Err(not_of(ty)) };
                Arc::new(self.structs(layout, fields, parts, len, nulls)?)
            }
        })
    }

    fn structs(
        &mut self,
        layout: &Layout,
        fields: &Fields,
        parts: &[ColumnId],
        len: usize,
        nulls: Option<NullBuffer>,
    ) -> Result<StructArray, ArrowError> {
        let parts = parts.iter().map(|part| self.take(layout, *part)).collect::<Result<_, _>>()?;
        StructArray::try_new_with_length(fields.clone(), parts, nulls, len)
    }

    fn int(&mut self, slot: Slot, ty: &DataType) -> Result<ArrayRef, ArrowError> {
        let values = self.ints[slot.index()].take();
        match ty {
            DataType::Int32 => primitive::<Int32Type>(values, ty),
            DataType::Date32 => primitive::<Date32Type>(values, ty),
            DataType::Time32(TimeUnit::Millisecond) => primitive::<Time32MillisecondType>(values, ty),
            _ => Err(not_of(ty)),
        }
    }

    fn long(&mut self, slot: Slot, ty: &DataType) -> Result<ArrayRef, ArrowError> {
        let values = self.longs[slot.index()].take();
        match ty {
            DataType::Int64 => primitive::<Int64Type>(values, ty),
            DataType::Time64(TimeUnit::Microsecond) => primitive::<Time64MicrosecondType>(values, ty),
            DataType::Timestamp(TimeUnit::Millisecond, _) => primitive::<TimestampMillisecondType>(values, ty),
            DataType::Timestamp(TimeUnit::Microsecond, _) => primitive::<TimestampMicrosecondType>(values, ty),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive::<TimestampNanosecondType>(values, ty),
            _ => Err(not_of(ty)),
        }
    }
}

/// `ty`: the column's, which says precision or time zone too.
fn primitive<T: ArrowPrimitiveType>(
    (values, nulls): (Vec<T::Native>, Option<NullBuffer>),
    ty: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let array = PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls)?;
    Ok(Arc::new(array.with_data_type(ty.clone())))
}

fn not_of(ty: &DataType) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("no column of this shape has the type {ty}"))
}
