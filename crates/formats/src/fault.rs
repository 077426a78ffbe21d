//! Why an event becomes no row: what all formats with named fields share.

use arrow::datatypes::Field;

use crate::column::Refusal;
use crate::decode::OnError;
use crate::reason::refused;
use crate::rows::Rejection;

/// Why an event became no row; `M` is how a format tells bytes it cannot read.
#[derive(Debug)]
pub(crate) enum Reject<M> {
    /// The bytes are not of the format.
    Malformed(M),
    /// A field is missing or does not fit.
    Field(Box<FieldFault>),
    /// A column is as large as it can be.
    Full,
}

/// What is wrong with a field, and with which.
#[derive(Debug)]
pub(crate) struct FieldFault {
    /// From the outermost field to the innermost: `order.lines[2].amount`.
    path: String,
    /// `None`: it is missing.
    problem: Option<String>,
}

impl<M> Reject<M> {
    /// A field with a problem.
    #[cold]
    pub(crate) fn field(name: &str, problem: String) -> Self {
        Self::Field(Box::new(FieldFault { path: name.to_owned(), problem: Some(problem) }))
    }

    /// A field that is missing.
    #[cold]
    pub(crate) fn missing(name: &str) -> Self {
        Self::Field(Box::new(FieldFault { path: name.to_owned(), problem: None }))
    }

    /// The same, seen from the container whose `step` leads to it.
    #[cold]
    pub(crate) fn within(mut self, step: &str) -> Self {
        if let Self::Field(fault) = &mut self {
            let dot = if fault.path.is_empty() || fault.path.starts_with('[') { "" } else { "." };
            fault.path = format!("{step}{dot}{}", fault.path);
        }
        self
    }

    /// The same, in an element. A fault inside names the element's field
    /// (`item`), which no event has: its place says more.
    #[cold]
    pub(crate) fn at_element(mut self, element: &str, place: impl std::fmt::Display) -> Self {
        if let Self::Field(fault) = &mut self {
            let inner = fault.path.strip_prefix(element).unwrap_or("");
            fault.path = format!("[{place}]{inner}");
        }
        self
    }

    /// The verdict on the event; `malformed` words a fault of the format.
    #[cold]
    pub(crate) fn verdict(self, malformed: impl FnOnce(M) -> String) -> Rejection {
        match self {
            Self::Malformed(fault) => Rejection::Event(malformed(fault)),
            Self::Field(fault) => Rejection::Event(match fault.problem {
                None => format!("missing field `{}`", fault.path),
                Some(problem) => format!("field `{}`: {problem}", fault.path),
            }),
            Self::Full => Rejection::BatchFull,
        }
    }
}

/// Gives `Ok` if the value that the column does not take becomes NULL.
#[cold]
pub(crate) fn refuse<M>(
    field: &Field,
    on_error: OnError,
    refusal: Refusal,
    found: impl FnOnce() -> String,
) -> Result<(), Reject<M>> {
    if refusal == Refusal::Full {
        return Err(Reject::Full);
    }
    if on_error == OnError::Null && field.is_nullable() {
        return Ok(());
    }
    Err(Reject::field(field.name(), refused(field.data_type(), refusal, &found())))
}

/// Gives `Ok` if the field may be NULL.
pub(crate) fn refuse_null<M>(field: &Field) -> Result<(), Reject<M>> {
    if field.is_nullable() {
        return Ok(());
    }
    let found = "NULL, but the column is NOT NULL";
    Err(Reject::field(field.name(), refused(field.data_type(), Refusal::Type, found)))
}
