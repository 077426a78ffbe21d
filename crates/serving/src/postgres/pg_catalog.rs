//! The system catalog that tools read: `pg_catalog` and the functions of
//! PostgreSQL that their queries call.

use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};
use datafusion::prelude::{SessionContext, create_udf};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::setup_pg_catalog;

use super::startup::SERVER_VERSION;

/// Gives sessions the system catalog. The first session pays for reading it,
/// the others share what was read.
#[derive(Default)]
pub(super) struct SystemCatalog {
    prepared: OnceLock<SessionState>,
}

impl SystemCatalog {
    /// Makes the system catalog visible in a fresh session.
    pub(super) fn install(&self, context: &SessionContext) -> Result<(), Box<DataFusionError>> {
        if let Some(prepared) = self.prepared.get() {
            *context.state_ref().write() = prepared.clone();
            return Ok(());
        }
        let database = context.state().config_options().catalog.default_catalog.clone();
        setup_pg_catalog(context, &database, EmptyContextProvider)?;
        context.register_udf(version());
        // Another connection may have been first; both states are the same.
        let _ = self.prepared.set(context.state());
        Ok(())
    }
}

/// `version()`, which drivers take apart.
fn version() -> ScalarUDF {
    let text = ScalarValue::from(format!("PostgreSQL {SERVER_VERSION}"));
    let answer = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(text.clone()));
    create_udf("version", Vec::new(), DataType::Utf8, Volatility::Stable, Arc::new(answer))
}
