//! One instant for all real-time tables and views that a query reads.
//!
//! Promise: what a query finds in one is of the same commit as what it finds in
//! another, whatever is committed while it is planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use pluvio_keytables::{KeyTable, Span, Store};

use crate::tables::{AppendProvider, KeyedProvider};

/// The plan, reading what is committed now.
pub(crate) fn of_one_instant(plan: LogicalPlan, store: &Store) -> Result<LogicalPlan> {
    let (mut tables, mut spans, mut reads) = (BTreeMap::new(), BTreeMap::new(), 0);
    let collect = |node: &LogicalPlan| {
        if let Some(provider) = provider(node) {
            reads += 1;
            // What is not there yet is refused when it is read.
            if let Some(keyed) = provider.downcast_ref::<KeyedProvider>() {
                tables.extend(keyed.table().ok().map(|table| (keyed.name().to_owned(), table)));
            } else if let Some(view) = provider.downcast_ref::<AppendProvider>() {
                spans.extend(view.span().ok().map(|span| (view.name().to_owned(), span)));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    };
    plan.apply_with_subqueries(collect)?;
    if reads < 2 {
        return Ok(plan);
    }
    let (tables, spans) = store.read_together(|| {
        let snapshot = |(name, table): (String, Arc<KeyTable>)| (name, Arc::new(table.snapshot()));
        let newest = |(name, span): (String, Arc<Span>)| (name, span.last_tag().unwrap_or(0));
        let tables: BTreeMap<_, _> = tables.into_iter().map(snapshot).collect();
        (tables, spans.into_iter().map(newest).collect::<BTreeMap<_, _>>())
    });
    let pin = |node: LogicalPlan| {
        let pinned = provider(&node).and_then(|provider| -> Option<Arc<dyn TableProvider>> {
            if let Some(keyed) = provider.downcast_ref::<KeyedProvider>() {
                return Some(Arc::new(keyed.pinned(tables.get(keyed.name())?)));
            }
            let view = provider.downcast_ref::<AppendProvider>()?;
            Some(Arc::new(view.pinned(*spans.get(view.name())?)))
        });
        Ok(match (node, pinned) {
            (LogicalPlan::TableScan(mut scan), Some(pinned)) => {
                scan.source = provider_as_source(pinned);
                Transformed::yes(LogicalPlan::TableScan(scan))
            }
            (node, _) => Transformed::no(node),
        })
    };
    plan.transform_up_with_subqueries(pin).map(|plan| plan.data)
}

fn provider(node: &LogicalPlan) -> Option<Arc<dyn TableProvider>> {
    match node {
        LogicalPlan::TableScan(scan) => source_as_provider(&scan.source).ok(),
        _ => None,
    }
}
