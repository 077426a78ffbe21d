//! Numbers about the running system. Whoever counts holds the cell; whoever
//! shows lists them all. A name is `area_what_unit`, a label tells instances
//! apart (a topic, a view).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One number that goes up (a count) or both ways (a gauge).
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds to a count.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A reading: name, label, value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// `area_what_unit`.
    pub name: &'static str,
    /// Which instance; empty if there is only one.
    pub label: String,
    /// The value, in the name's unit.
    pub value: u64,
}

/// The registry. Cheap to clone; all clones show the same numbers.
#[derive(Debug, Default, Clone)]
pub struct Metrics {
    cells: Arc<Mutex<Cells>>,
}

type Cells = BTreeMap<(&'static str, String), Arc<Cell>>;

impl Metrics {
    /// The cell of this name and label, made on first use.
    pub fn cell(&self, name: &'static str, label: &str) -> Arc<Cell> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry((name, label.to_owned())).or_default())
    }

    /// Forgets every cell of this label (a dropped topic or view).
    pub fn forget(&self, label: &str) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|(_, its), _| its != label);
    }

    /// All numbers, sorted by name and label.
    pub fn readings(&self) -> Vec<Reading> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = |((name, label), cell): (&(&'static str, String), &Arc<Cell>)| Reading {
            name,
            label: label.clone(),
            value: cell.get(),
        };
        cells.iter().map(reading).collect()
    }
}
