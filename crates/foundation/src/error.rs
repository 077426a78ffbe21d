//! The kinds of failure. Every crate has one error enum of its own with a
//! `kind()`; every protocol maps kinds to its codes in exactly one place.

/// What sort of failure an error is, for whoever must decide what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// The request is wrong and will stay wrong: fix it, do not retry.
    Invalid,
    /// Over a stated limit.
    TooLarge,
    /// Correct, but not built (the message names the supported way).
    Unsupported,
    /// Not now; the same request may succeed later.
    Unavailable,
    /// The disk has no room left; succeeds again once there is space.
    DiskFull,
    /// Stored bytes are not what was written.
    Corrupt,
    /// The caller may not do this.
    Denied,
    /// The operating system refused an I/O request.
    Io,
    /// A broken invariant of ours.
    Internal,
}

impl ErrorKind {
    /// The kind of an I/O error: a full disk and a missing file are told apart
    /// because callers act on them.
    pub fn of_io(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull,
            std::io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Io,
        }
    }
}
