//! The `partition` column: a struct of every partition field that any of the table's specs has or had.

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
    LargeBinaryArray, StringArray, StructArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use iceberg::arrow::type_to_arrow_type;
use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Struct, Type};
use iceberg::table::Table;
use std::collections::HashMap;
use std::sync::Arc;

/// The fields of all specs, and where each spec keeps their values.
#[derive(Debug)]
pub(super) struct PartitionType {
    fields: Vec<(i32, String, PrimitiveType)>,
    /// Spec id → for each of `fields`, its place in that spec's values.
    places: HashMap<i32, Vec<Option<usize>>>,
}

impl PartitionType {
    pub(super) fn of(table: &Table) -> Result<Self> {
        let wrong = |e| crate::error::iceberg_to_datafusion(table.identifier().name(), e);
        let metadata = table.metadata();
        let mut specs: Vec<_> = metadata.partition_specs_iter().collect();
        specs.sort_by_key(|spec| spec.spec_id());
        let mut fields: Vec<(i32, String, PrimitiveType)> = Vec::new();
        let mut ids_by_spec = Vec::new();
        for spec in specs {
            // a source column that was dropped is in an older schema
            let mut schemas = std::iter::once(metadata.current_schema()).chain(metadata.schemas_iter());
            let Some(kind) = schemas.find_map(|schema| spec.partition_type(schema).ok()) else {
                return Err(super::broken(table, format!("partition spec {} fits no schema", spec.spec_id())));
            };
            for field in kind.fields() {
                if let Type::Primitive(kind) = field.field_type.as_ref()
                    && !fields.iter().any(|(id, ..)| *id == field.id)
                {
                    // a field of the same name in another spec: Java tells them apart by their ids
                    let taken = fields.iter().any(|(_, name, _)| *name == field.name);
                    let name = if taken { format!("{}_{}", field.name, field.id) } else { field.name.clone() };
                    fields.push((field.id, name, kind.clone()));
                }
            }
            ids_by_spec.push((spec.spec_id(), kind.fields().iter().map(|f| f.id).collect::<Vec<_>>()));
        }
        // the types must be there in Arrow
        for (_, _, kind) in &fields {
            type_to_arrow_type(&Type::Primitive(kind.clone())).map_err(wrong)?;
        }
        let place = |ids: &[i32]| fields.iter().map(|(id, ..)| ids.iter().position(|i| i == id)).collect();
        let places = ids_by_spec.iter().map(|(spec, ids)| (*spec, place(ids))).collect();
        Ok(Self { fields, places })
    }

    /// Not partitioned, and never was: then Java leaves the column out.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// One struct per row.
    pub(super) fn array<'a>(&self, rows: &[(i32, &'a Struct)]) -> Result<ArrayRef> {
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        for (index, (_, name, kind)) in self.fields.iter().enumerate() {
            let values: Vec<Option<&'a PrimitiveLiteral>> = rows
                .iter()
                .map(|(spec, values)| {
                    let place = (*self.places.get(spec)?.get(index)?)?;
                    match values.fields().get(place)?.as_ref()? {
                        Literal::Primitive(value) => Some(value),
                        _ => None,
                    }
                })
                .collect();
            let array = primitive_array(kind, &values)?;
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        Ok(Arc::new(StructArray::try_new_with_length(Fields::from(fields), arrays, None, rows.len())?))
    }
}

/// Iceberg's values as an Arrow array of the type that Iceberg's tables have in Arrow.
fn primitive_array(kind: &PrimitiveType, values: &[Option<&PrimitiveLiteral>]) -> Result<ArrayRef> {
    macro_rules! picked {
        ($variant:ident, $get:expr) => {
            values.iter().map(|value| match value {
                Some(PrimitiveLiteral::$variant(v)) => Some($get(v)),
                _ => None,
            })
        };
    }
    let ints = || -> ArrayRef { Arc::new(Int32Array::from_iter(picked!(Int, |v: &i32| *v))) };
    let longs = || -> ArrayRef { Arc::new(Int64Array::from_iter(picked!(Long, |v: &i64| *v))) };
    let arrow =
        type_to_arrow_type(&Type::Primitive(kind.clone())).map_err(|e| crate::error::iceberg_to_datafusion("", e))?;
    let array: ArrayRef = match kind {
        PrimitiveType::Boolean => Arc::new(BooleanArray::from_iter(picked!(Boolean, |v: &bool| *v))),
        PrimitiveType::Int | PrimitiveType::Date => ints(),
        PrimitiveType::Long
        | PrimitiveType::Time
        | PrimitiveType::Timestamp
        | PrimitiveType::Timestamptz
        | PrimitiveType::TimestampNs
        | PrimitiveType::TimestamptzNs => longs(),
        PrimitiveType::Float => Arc::new(Float32Array::from_iter(values.iter().map(|value| match value {
            Some(PrimitiveLiteral::Float(v)) => Some(v.0),
            _ => None,
        }))),
        PrimitiveType::Double => Arc::new(Float64Array::from_iter(values.iter().map(|value| match value {
            Some(PrimitiveLiteral::Double(v)) => Some(v.0),
            _ => None,
        }))),
        PrimitiveType::String => Arc::new(StringArray::from_iter(picked!(String, |v: &'_ String| v.clone()))),
        PrimitiveType::Binary => Arc::new(LargeBinaryArray::from_iter(picked!(Binary, |v: &Vec<u8>| v.clone()))),
        PrimitiveType::Decimal { .. } => {
            let numbers = Decimal128Array::from_iter(picked!(Int128, |v: &i128| *v));
            match &arrow {
                DataType::Decimal128(precision, scale) => {
                    Arc::new(numbers.with_precision_and_scale(*precision, *scale)?)
                }
                _ => Arc::new(numbers),
            }
        }
        PrimitiveType::Uuid => Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(
            picked!(UInt128, |v: &u128| v.to_be_bytes()),
            16,
        )?),
        PrimitiveType::Fixed(_) => {
            let bytes: ArrayRef = Arc::new(LargeBinaryArray::from_iter(picked!(Binary, |v: &Vec<u8>| v.clone())));
            return Ok(bytes);
        }
    };
    // days and moments are numbers underneath
    if *array.data_type() == arrow { Ok(array) } else { Ok(cast(&array, &arrow)?) }
}
