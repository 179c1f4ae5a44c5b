//! temporary
use async_trait::async_trait;
use k2_model::Result;
/// temporary
#[async_trait]
pub trait Catalog: Send + Sync {
    /// t
    async fn tables(&self, namespace: &str) -> Result<Vec<String>>;
    /// t
    async fn load(&self, ident: &iceberg::TableIdent) -> Result<Option<iceberg::table::Table>>;
}
