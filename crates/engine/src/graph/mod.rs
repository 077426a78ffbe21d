//! Graphs: the jobs that feed each other, from one stream to its last view. They
//! run on one thread, share each epoch and commit together.

mod outputs;
mod record;
mod runner;
mod source;
mod view;

use std::sync::Arc;

use pluvio_catalog::{Catalog, Definition, SinkDef, StreamDef, ViewDef};

pub use record::EpochRecord;
pub use runner::{GraphHandle, GraphParts};

/// What a graph is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphSpec {
    /// The name of its first view.
    pub name: String,
    /// Its stream.
    pub stream: StreamDef,
    /// Its views, each after what it reads.
    pub views: Vec<ViewDef>,
    /// The sinks of its views.
    pub sinks: Vec<SinkDef>,
}

/// The graphs of a catalog: one for each view that reads a stream, with all that
/// hangs on it.
pub fn graphs(catalog: &Catalog) -> Vec<GraphSpec> {
    let all = catalog.all();
    let stream = |name: &str| {
        all.iter().find_map(|d| match d.as_ref() {
            Definition::Stream(s) if s.name == name => Some(s.clone()),
            _ => None,
        })
    };
    let mut graphs: Vec<GraphSpec> = Vec::new();
    for definition in &all {
        match definition.as_ref() {
            Definition::View(view) => {
                let root = view.reads.iter().find_map(|r| stream(r));
                if let Some(stream) = root {
                    let (name, views) = (view.name.clone(), vec![view.clone()]);
                    graphs.push(GraphSpec { name, stream, views, sinks: Vec::new() });
                } else if let Some(graph) = owner(&mut graphs, &view.reads) {
                    graph.views.push(view.clone());
                }
            }
            Definition::Sink(sink) => {
                if let Some(graph) = owner(&mut graphs, std::slice::from_ref(&sink.from)) {
                    graph.sinks.push(sink.clone());
                }
            }
            Definition::Stream(_) | Definition::Table(_) => {}
        }
    }
    graphs
}

fn owner<'a>(graphs: &'a mut [GraphSpec], reads: &[String]) -> Option<&'a mut GraphSpec> {
    graphs.iter_mut().find(|g| g.views.iter().any(|v| reads.contains(&v.name)))
}

/// The name under which a graph's epoch record is stored.
pub fn record_name(graph: &str) -> String {
    format!("graph/{graph}")
}

/// The name of a graph's span of dead letters.
pub fn dead_letters_name(graph: &str) -> Arc<str> {
    format!("{}{graph}", pluvio_query::dead_letters::SPAN_PREFIX).into()
}
