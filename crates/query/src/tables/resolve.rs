//! Names → tables, from the catalog's definitions.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use pluvio_catalog::{Catalog, Definition, ViewKind};
use pluvio_keytables::Store;

use super::lake::LakeUnion;
use super::{AppendProvider, KeyedProvider, StreamProvider};
use crate::lakes::Lakes;
use crate::sources::Sources;

/// Finds the table behind a name. Nothing needs to exist but its definition, so
/// that a pipeline can be planned before it runs.
#[derive(Debug)]
pub struct Resolver {
    catalog: Arc<Catalog>,
    sources: Arc<Sources>,
    store: Arc<Store>,
    lakes: Arc<Lakes>,
}

/// The name of the stored table that holds a view's operator state.
pub fn state_table_name(view: &str) -> String {
    format!("{view}$state")
}

impl Resolver {
    /// A resolver over these parts.
    pub fn new(catalog: Arc<Catalog>, sources: Arc<Sources>, store: Arc<Store>, lakes: Arc<Lakes>) -> Self {
        Self { catalog, sources, store, lakes }
    }

    /// The catalog it reads.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The names of streams, tables and views.
    pub fn names(&self) -> Vec<String> {
        let readable = |d: &Arc<Definition>| !matches!(d.as_ref(), Definition::Sink(_));
        self.catalog.all().iter().filter(|d| readable(d)).map(|d| d.name().to_owned()).collect()
    }

    /// The stream, table or view of this name.
    pub fn provider(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        let store = || Arc::clone(&self.store);
        Some(match self.catalog.get(name)?.as_ref() {
            Definition::Stream(stream) => {
                Arc::new(StreamProvider::new(Arc::new(stream.clone()), Arc::clone(&self.sources)))
            }
            Definition::Table(table) => {
                Arc::new(KeyedProvider::new(name, table.schema(), table.key.clone(), store(), false))
            }
            Definition::View(view) => match &view.kind {
                ViewKind::Append { time_column } => {
                    Arc::new(AppendProvider::new(name, view.schema(), time_column.clone(), store()))
                }
                ViewKind::Keyed { key } => {
                    Arc::new(KeyedProvider::new(name, view.schema(), key.clone(), store(), true))
                }
            },
            Definition::Sink(_) => return None,
        })
    }

    /// The lake's folder and its open tables.
    pub fn lakes(&self) -> &Arc<Lakes> {
        &self.lakes
    }

    /// The names of lake tables: those with a sink and those that lie in the
    /// lake's folder, written by an earlier sink or by another process.
    pub fn lake_names(&self) -> Vec<String> {
        let lake = |d: &Arc<Definition>| match d.as_ref() {
            Definition::Sink(sink) => sink.lake().map(str::to_owned),
            _ => None,
        };
        let mut names: Vec<String> = self.catalog.all().iter().filter_map(lake).collect();
        let found = self.lakes.found();
        names.extend(found.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
        names
    }

    /// The lake table of this name, united with the rows not yet in it.
    pub fn lake_provider(&self, lake: &str) -> Option<Arc<dyn TableProvider>> {
        let all = self.catalog.all();
        let sink = all.iter().find_map(|d| match d.as_ref() {
            Definition::Sink(sink) if sink.lake() == Some(lake) => Some(sink.clone()),
            _ => None,
        })?;
        match self.catalog.get(&sink.from)?.as_ref() {
            Definition::View(view) => {
                let (store, lakes) = (Arc::clone(&self.store), Arc::clone(&self.lakes));
                Some(Arc::new(LakeUnion::new(sink, lake, view.schema(), store, lakes)))
            }
            _ => None,
        }
    }
}
