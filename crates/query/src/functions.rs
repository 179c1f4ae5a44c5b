//! `length` and `octet_length` of bytes. DataFusion's take text only and read bytes as text, which fails on most of what
//! bronze holds; in Spark, and in every other engine, they count bytes.

use datafusion::arrow::array::Array;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::any::Any;
use std::sync::Arc;

/// A function of text that is taught to count bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Length {
    name: &'static str,
    of_text: Arc<ScalarUDF>,
    signature: Signature,
}

/// Puts ours in the place of DataFusion's.
pub(crate) fn register(session: &mut SessionState) -> Result<()> {
    for name in ["character_length", "octet_length"] {
        let of_text = session.udf(name)?;
        let signature = Signature::user_defined(Volatility::Immutable);
        session.register_udf(Arc::new(ScalarUDF::new_from_impl(Length { name, of_text, signature })))?;
    }
    Ok(())
}

impl ScalarUDFImpl for Length {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.name
    }

    /// `length` is one of them: sessions are made from sessions, and only a name and all its aliases stay together.
    fn aliases(&self) -> &[String] {
        self.of_text.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [argument] = arguments else { return plan_err!("{} takes one argument", self.name) };
        match argument {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(vec![argument.clone()]),
            DataType::Null => Ok(vec![DataType::Utf8]),
            DataType::Dictionary(_, values) => self.coerce_types(&[values.as_ref().clone()]),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Ok(vec![DataType::LargeBinary])
            }
            other => plan_err!("{} takes text or bytes, not {other}", self.name),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::LargeBinary] => Ok(DataType::Int64),
            _ => self.of_text.return_type(arguments),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.as_slice() {
            [ColumnarValue::Array(bytes)] if bytes.data_type() == &DataType::LargeBinary => {
                Ok(ColumnarValue::Array(length(bytes)?))
            }
            [ColumnarValue::Scalar(ScalarValue::LargeBinary(bytes))] => {
                let bytes = bytes.as_ref().and_then(|bytes| i64::try_from(bytes.len()).ok());
                Ok(ColumnarValue::Scalar(ScalarValue::Int64(bytes)))
            }
            _ => self.of_text.invoke_with_args(arguments),
        }
    }
}
