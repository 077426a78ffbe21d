//! What a JSON format may be told.

use crate::column::EpochUnit;
use crate::framing::Framing;

/// How JSON documents are read. The default takes what is there and nothing
/// else: a missing field is NULL, an unknown one is skipped, text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JsonOptions {
    /// A declared field that a document does not have.
    pub on_missing: OnMissing,
    /// A field that no column declares.
    pub on_unknown: OnUnknown,
    /// A value of another type than its column.
    pub on_drift: OnDrift,
    /// What a bare number in a TIMESTAMP column counts.
    pub epoch: EpochUnit,
    /// What stands in front of each document.
    pub framing: Framing,
}

/// What to do with a declared field that is missing. In a NOT NULL column the
/// event is always rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissing {
    /// It is NULL.
    #[default]
    Null,
    /// Reject the event.
    Reject,
}

/// What to do with a field that no column declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnknown {
    /// Skip it.
    #[default]
    Ignore,
    /// Reject the event.
    Reject,
}

/// What to do with a value whose type is not its column's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrift {
    /// It does not fit.
    #[default]
    Strict,
    /// Numbers and booleans are read from text; anything becomes text as it
    /// stands in the document, objects and arrays too; a whole number in a DATE
    /// counts days since 1970. Still checked: range, whole numbers, dates.
    Convert,
}
