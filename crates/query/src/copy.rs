//! COPY table FROM 'file': bulk load of CSV or Parquet into a real-time table,
//! by column name, overwriting rows of the same key, in commits of bounded size.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::functions::expr_fn::{nullif, trim};
use datafusion::logical_expr::{Expr, cast};
use datafusion::prelude::{CsvReadOptions, DataFrame, ParquetReadOptions};
use futures::StreamExt;
use pluvio_foundation::ErrorKind;
use pluvio_keytables::KeyTable;

use crate::QueryError;
use crate::define::{blocking, writable};
use crate::dml::conform;
use crate::functions::column;
use crate::session::{Outcome, Session};
use crate::sql::Copy;
use crate::tables::KeyedProvider;

const COMMIT_ROWS: usize = 1 << 20;

/// Executes a COPY.
pub(crate) async fn run(session: &Session, copy: Copy) -> Result<Outcome, QueryError> {
    let provider = writable(session, &copy.table)?;
    let internal = || QueryError::new(ErrorKind::Internal, "a writable table is a keyed table");
    let table = provider.downcast_ref::<KeyedProvider>().ok_or_else(internal)?.table()?;
    check_file(session, &copy)?;
    let frame = open(session, &copy, &table.schema()).await?;
    let _writing = session.platform().writing.lock().await;
    let mut rows = frame.execute_stream().await?;
    let (mut pending, mut pending_rows, mut total) = (Vec::new(), 0, 0);
    while let Some(batch) = rows.next().await {
        let batch = conform(&batch.map_err(|e| of_file(&copy, e))?, &table.schema())?;
        pending_rows += batch.num_rows();
        total += batch.num_rows();
        pending.push(batch);
        if pending_rows >= COMMIT_ROWS {
            commit(session, &table, std::mem::take(&mut pending)).await?;
            pending_rows = 0;
        }
    }
    commit(session, &table, pending).await?;
    Ok(Outcome::done(format!("COPY {total}")))
}

/// Fails if the file cannot be opened.
pub(crate) fn check_file(session: &Session, copy: &Copy) -> Result<(), QueryError> {
    let path = session.path(&copy.path);
    let missing = |e: std::io::Error| {
        QueryError::new(ErrorKind::of_io(&e), format!("{}: {e}", path.display())).at(copy.path_position)
    };
    std::fs::File::open(&path).map(|_| ()).map_err(missing)
}

fn of_file(copy: &Copy, error: DataFusionError) -> QueryError {
    let error = QueryError::from(error);
    QueryError::new(error.kind(), format!("{}: {}", copy.path, error.message())).at(copy.path_position)
}

async fn open(session: &Session, copy: &Copy, schema: &SchemaRef) -> Result<DataFrame, QueryError> {
    let path = session.path(&copy.path).display().to_string();
    let context = session.context();
    let frame = if copy.parquet {
        context.read_parquet(path, ParquetReadOptions::default()).await
    } else {
        let extension = path.rsplit_once('.').map_or(String::new(), |(_, e)| format!(".{e}"));
        let options = CsvReadOptions::new()
            .has_header(copy.header)
            .delimiter(u8::try_from(copy.delimiter).unwrap_or(b','))
            .file_extension(&extension)
            .schema_infer_max_records(0);
        context.read_csv(path, options).await
    };
    let frame = frame.map_err(|e| of_file(copy, e))?;
    let columns = columns(&frame, copy, schema)?;
    frame.select(columns).map_err(|e| of_file(copy, e))
}

/// The file's columns in the table's order and types. Text becomes NULL where it
/// is empty or the NULL text, unless the column is text that may not be NULL.
fn columns(frame: &DataFrame, copy: &Copy, schema: &SchemaRef) -> Result<Vec<Expr>, QueryError> {
    let names: Vec<&str> = frame.schema().fields().iter().map(|f| f.name().as_str()).collect();
    let pick = |(i, field): (usize, &Arc<datafusion::arrow::datatypes::Field>)| {
        let by_name = names.iter().find(|n| n.eq_ignore_ascii_case(field.name()));
        let by_place = if copy.header || copy.parquet { None } else { names.get(i) };
        let missing = || {
            let message = format!(
                "{}: the table's column \"{}\" is not in the file, which has {}",
                copy.path,
                field.name(),
                names.join(", ")
            );
            QueryError::invalid(message).at(copy.path_position)
        };
        let mut value = column(by_name.or(by_place).ok_or_else(missing)?);
        if !copy.parquet {
            if let Some(null) = &copy.null {
                value = nullif(value, datafusion::logical_expr::lit(null.as_str()));
            }
            if !field.data_type().is_string() {
                value = nullif(trim(vec![value]), datafusion::logical_expr::lit(""));
            }
        }
        Ok(cast(value, field.data_type().clone()).alias(field.name()))
    };
    schema.fields().iter().enumerate().map(pick).collect()
}

async fn commit(session: &Session, table: &Arc<KeyTable>, rows: Vec<RecordBatch>) -> Result<(), QueryError> {
    let (store, table) = (Arc::clone(session.platform().store()), Arc::clone(table));
    blocking(move || {
        let mut commit = store.begin();
        for batch in rows {
            commit.upsert(&table, batch);
        }
        commit.commit()?;
        Ok(())
    })
    .await
}
