//! Graphs: the jobs that read each other, from their streams to their last
//! views. They run on one thread, share each epoch and commit together.

mod catching_up;
mod changes;
mod content;
mod epoch;
mod intake;
mod outputs;
mod record;
mod runner;
mod source;
mod tail;
mod taking;
mod view;

use std::sync::Arc;

use pluvio_catalog::{Catalog, Definition, SinkDef, StreamDef, ViewDef, ViewKind};

pub use changes::{changes_name, changes_note};
pub use record::{StreamRecord, is_catching_up, record_name};
pub use runner::{GraphHandle, GraphParts, Signals};

/// What a graph is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphSpec {
    /// The name of its first view.
    pub name: String,
    /// Its streams.
    pub streams: Vec<StreamDef>,
    /// Its views, each after what it reads.
    pub views: Vec<ViewDef>,
    /// The sinks of its views.
    pub sinks: Vec<SinkDef>,
}

impl GraphSpec {
    fn of(view: &ViewDef) -> Self {
        Self { name: view.name.clone(), streams: Vec::new(), views: vec![view.clone()], sinks: Vec::new() }
    }

    /// Whether a sink tells of rows that go from this view.
    pub fn tells_changes(&self, view: &ViewDef) -> bool {
        let keyed = matches!(view.kind, ViewKind::Keyed { .. });
        keyed && self.sinks.iter().any(|sink| sink.from == view.name && sink.has_changes())
    }

    /// Whether one of its views is paused: they commit together, so they stand
    /// still together.
    pub fn is_paused(&self) -> bool {
        self.views.iter().any(|view| view.paused)
    }

    fn has_view(&self, name: &str) -> bool {
        self.views.iter().any(|view| view.name == name)
    }
}

/// The graphs of a catalog: views that read each other are in one.
pub fn graphs(catalog: &Catalog) -> Vec<GraphSpec> {
    let all = catalog.all();
    let mut graphs: Vec<GraphSpec> = Vec::new();
    for definition in &all {
        match definition.as_ref() {
            Definition::View(view) => {
                let reads = |graph: &GraphSpec| view.reads.iter().any(|name| graph.has_view(name));
                let (joined, apart): (Vec<_>, Vec<_>) = graphs.into_iter().partition(reads);
                graphs = apart;
                let mut joined = joined.into_iter();
                let graph = match joined.next() {
                    None => GraphSpec::of(view),
                    Some(mut graph) => {
                        for other in joined {
                            graph.views.extend(other.views);
                            graph.sinks.extend(other.sinks);
                        }
                        graph.views.push(view.clone());
                        graph
                    }
                };
                graphs.push(graph);
            }
            Definition::Sink(sink) => {
                if let Some(graph) = graphs.iter_mut().find(|graph| graph.has_view(&sink.from)) {
                    graph.sinks.push(sink.clone());
                }
            }
            Definition::Stream(_) | Definition::Table(_) => {}
        }
    }
    for graph in &mut graphs {
        for definition in &all {
            if let Definition::Stream(stream) = definition.as_ref()
                && graph.views.iter().any(|view| view.reads.contains(&stream.name))
            {
                graph.streams.push(stream.clone());
            }
        }
    }
    graphs
}

/// The name of a graph's span of dead letters.
pub fn dead_letters_name(graph: &str) -> Arc<str> {
    format!("{}{graph}", pluvio_query::dead_letters::SPAN_PREFIX).into()
}
