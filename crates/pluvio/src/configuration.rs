//! `pluvio config`: every option with its value and where that came from, as a
//! file that gives the same configuration.

use std::io::Write;

use crate::cli::ConfigArgs;
use crate::error::CliError;
use crate::sql::print;

/// Prints the configuration on standard output.
///
/// # Errors
/// A value that does not fit its option, or an output that cannot be written.
pub fn run(args: &ConfigArgs) -> Result<(), CliError> {
    let settings = args.platform.load()?;
    let written = std::io::stdout().write_all(settings.to_toml().as_bytes());
    print::unless_closed(written.map_err(print::failed))
}
