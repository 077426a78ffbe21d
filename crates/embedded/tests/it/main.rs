//! Pluvio inside another program.

mod functions;
