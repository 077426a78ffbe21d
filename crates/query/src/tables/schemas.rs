//! The schemas of a session's catalog: `public` (what users make), `lake` and
//! `pluvio` (the system).

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::Resolver;
use super::system::SystemTables;

/// The database's name, as Postgres clients see it.
pub const DATABASE: &str = "pluvio";

/// Puts the three schemas into a session.
pub(crate) fn register(
    context: &SessionContext,
    resolver: &Arc<Resolver>,
    system: &Arc<SystemTables>,
) -> Result<(), DataFusionError> {
    let catalog = Arc::new(MemoryCatalogProvider::new());
    catalog.register_schema("public", Arc::new(Public(Arc::clone(resolver))))?;
    catalog.register_schema("lake", Arc::new(Lake(Arc::clone(resolver))))?;
    catalog.register_schema("pluvio", Arc::clone(system) as Arc<dyn SchemaProvider>)?;
    context.register_catalog(DATABASE, catalog);
    Ok(())
}

#[derive(Debug)]
struct Public(Arc<Resolver>);

#[async_trait]
impl SchemaProvider for Public {
    fn table_names(&self) -> Vec<String> {
        self.0.names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(self.0.provider(name))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.names().iter().any(|n| n == name)
    }
}

#[derive(Debug)]
struct Lake(Arc<Resolver>);

#[async_trait]
impl SchemaProvider for Lake {
    fn table_names(&self) -> Vec<String> {
        self.0.lake_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match self.0.lake_provider(name) {
            Some(provider) => Ok(Some(provider)),
            None => Ok(self.0.lakes().read_only(name).await?),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.lake_names().iter().any(|n| n == name)
    }
}
