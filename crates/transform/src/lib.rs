//! Raw records into valid rows and rejects.

pub mod assets;
pub mod contract;
pub mod plan;
pub mod registry;
pub mod transformer;

pub use assets::{Text, asset};
pub use contract::{dlq_schema, silver_schema};
pub use plan::{Definition, Plan};
pub use registry::{HttpSettings, Lookup, Resolver, Schemas};
pub use transformer::{Fate, Rejected, Routed, Transformer};
