//! DataFusion sessions, set up the one way this system needs them.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::functions::Functions;
use crate::plan::{analyzer_rules, as_of_marker, batch_rules};
use crate::tables::system::SystemTables;
use crate::tables::{Resolver, WindowKind, WindowTable, register};
use crate::{sessions, text_functions, windows};

/// A state without tables, that knows the functions on values.
pub(crate) fn functions_state(functions: &Functions) -> Result<SessionState, DataFusionError> {
    let mut context = SessionContext::new();
    register_functions(&mut context, functions)?;
    Ok(context.state())
}

fn register_functions(context: &mut SessionContext, functions: &Functions) -> Result<(), DataFusionError> {
    for function in windows::scalar_functions() {
        context.register_udf(function.as_ref().clone());
    }
    for function in text_functions::scalar_functions() {
        context.register_udf(function);
    }
    datafusion_functions_json::register_all(context)?;
    functions.scalar.iter().for_each(|function| context.register_udf(function.as_ref().clone()));
    functions.aggregate.iter().for_each(|function| context.register_udaf(function.as_ref().clone()));
    Ok(())
}

/// A session context over what `resolver` finds.
pub(crate) fn new_context(
    runtime: &Arc<RuntimeEnv>,
    resolver: &Arc<Resolver>,
    system: &Arc<SystemTables>,
    functions: &Functions,
) -> Result<SessionContext, DataFusionError> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema("pluvio", "public")
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.parquet.schema_force_view_types = false;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::clone(runtime))
        .with_default_features()
        .with_analyzer_rules(analyzer_rules())
        .with_optimizer_rules(batch_rules());
    let mut context = SessionContext::new_with_state(state.build());
    register(&context, resolver, system)?;
    register_functions(&mut context, functions)?;
    for function in sessions::window_functions() {
        context.register_udwf(function);
    }
    context.register_udf(as_of_marker());
    for (name, kind) in WindowKind::ALL {
        context.register_udtf(name, Arc::new(WindowTable { kind, resolver: Arc::clone(resolver) }));
    }
    Ok(context)
}
