//! The values that a client bound to a statement's parameters.

use std::sync::Arc;

use datafusion::common::ParamValues;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters;
use pgwire::api::portal::Portal;
use pgwire::error::PgWireResult;

use super::prepared::Prepared;
use super::rows::check_formats;
use super::sqlstate;

/// The values, decoded by the types that the client named or that were inferred;
/// none if the statement has no parameters.
pub(super) fn values(portal: &Portal<Arc<Prepared>>) -> PgWireResult<Option<ParamValues>> {
    let types: Vec<_> = portal.statement.statement.parameters.iter().map(Option::as_ref).collect();
    if portal.parameter_len() != types.len() {
        let message = format!(
            "bind message supplies {} parameters, but prepared statement requires {}",
            portal.parameter_len(),
            types.len()
        );
        return Err(sqlstate::error(sqlstate::PROTOCOL_VIOLATION, message));
    }
    if types.is_empty() {
        return Ok(None);
    }
    check_formats(&portal.parameter_format, types.len(), "parameters")?;
    deserialize_parameters(portal, &types).map(Some)
}
