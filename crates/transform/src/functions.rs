//! The SQL functions that projections and rules have beside DataFusion's own (config/transforms/README.md lists them).
//!
//! Every one is pure and total: the same arguments give the same answer, and no text or number in a record makes one
//! fail. Where there is no answer it is null. That is what lets a rule, not an error, decide what becomes of a record.

mod json;
mod numbers;
mod text;

use crate::contract;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use std::any::Any;
use std::hash::{Hash, Hasher};

/// All of them.
pub(crate) fn all() -> Vec<ScalarUDF> {
    use DataType::{Boolean, Int64, Utf8};
    let exact = |types: &[DataType]| Signature::exact(types.to_vec(), Volatility::Immutable);
    let texts = || Signature::variadic(vec![Utf8], Volatility::Immutable);
    let anything = || Signature::variadic_any(Volatility::Immutable);
    let any_number_of_texts =
        || Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::Variadic(vec![Utf8])], Volatility::Immutable);
    let limits = || exact(&[Int64, contract::instant(), Int64]);
    [
        ("is_decimal", exact(&[Utf8]), Boolean, numbers::is_decimal as Body),
        ("parse_decimal", exact(&[Utf8]), contract::amount(), numbers::parse_decimal),
        ("seconds_to_micros", exact(&[Utf8]), Int64, numbers::seconds_to_micros),
        ("rfc3339_to_micros", exact(&[Utf8]), Int64, numbers::rfc3339_to_micros),
        ("millis_to_micros", exact(&[Int64]), Int64, numbers::millis_to_micros),
        ("later_than", limits(), Boolean, numbers::later_than),
        ("earlier_than", limits(), Boolean, numbers::earlier_than),
        ("shown_time", exact(&[Int64]), Utf8, numbers::shown_time),
        ("shown_span", exact(&[Int64]), Utf8, numbers::shown_span),
        ("is_blank", exact(&[Utf8]), Boolean, text::is_blank),
        ("text_before", exact(&[Utf8, Utf8]), Utf8, text::text_before),
        ("text_after", exact(&[Utf8, Utf8]), Utf8, text::text_after),
        ("quote_asset", texts(), Utf8, text::quote_asset),
        ("join_text", anything(), Utf8, text::join_text),
        ("text_list", any_number_of_texts(), contract::texts(), text::text_list),
        ("shown", Signature::any(1, Volatility::Immutable), Utf8, text::shown),
        ("uuid5", exact(&[Utf8, Utf8]), Utf8, text::uuid5),
        ("json_object", anything(), Utf8, json::json_object),
    ]
    .into_iter()
    .map(|(name, signature, returns, body)| ScalarUDF::new_from_impl(Function { name, signature, returns, body }))
    .collect()
}

type Body = fn(&Arguments<'_>) -> Result<ArrayRef>;

/// One function: its name is its identity.
#[derive(Debug)]
struct Function {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    body: Body,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn name(&self) -> &str {
        self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = Arguments { function: self.name, values: &args.args, rows: args.number_rows };
        (self.body)(&arguments).map(ColumnarValue::Array)
    }
}

/// What a function is called with. The signature has seen to the types.
struct Arguments<'a> {
    function: &'static str,
    values: &'a [ColumnarValue],
    rows: usize,
}

impl Arguments<'_> {
    fn column(&self, index: usize) -> Result<ArrayRef> {
        match self.values.get(index) {
            Some(value) => value.to_array(self.rows),
            None => exec_err!("{} needs an argument {}", self.function, index + 1),
        }
    }

    fn text(&self, index: usize) -> Result<StringArray> {
        let column = self.column(index)?;
        match column.as_string_opt::<i32>() {
            Some(text) => Ok(text.clone()),
            None => exec_err!("argument {} of {} must be text, not {}", index + 1, self.function, column.data_type()),
        }
    }

    fn long(&self, index: usize) -> Result<Int64Array> {
        let column = self.column(index)?;
        match column.as_primitive_opt::<Int64Type>() {
            Some(numbers) => Ok(numbers.clone()),
            None => exec_err!("argument {} of {} must be BIGINT, not {}", index + 1, self.function, column.data_type()),
        }
    }

    /// An argument that must be the same for all rows.
    fn literal(&self, index: usize) -> Result<&str> {
        match self.values.get(index) {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)))) => Ok(text),
            _ => exec_err!("argument {} of {} must be a text literal, such as 'x'", index + 1, self.function),
        }
    }
}

/// The end of a text in its column's buffer.
fn end(length: usize) -> Result<i32> {
    i32::try_from(length)
        .map_err(|_| DataFusionError::Execution("the texts of one batch take more than 2 GiB".to_owned()))
}

#[cfg(test)]
#[path = "functions/tests.rs"]
mod tests;
