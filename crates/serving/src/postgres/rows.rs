//! Record batches as rows of the wire.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use futures::StreamExt;
use futures::stream;
use pgwire::api::ClientInfo;
use pgwire::api::portal::Format;
use pgwire::api::results::QueryResponse;
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::types::format::FormatOptions;

use super::cancel::Stop;
use super::sqlstate;

/// The rows of `batches` as the client wants them, until `stop` says otherwise.
/// Nothing is read ahead: a slow client slows only its own query.
pub(super) fn response(
    client: &(impl ClientInfo + ?Sized),
    format: &Format,
    batches: SendableRecordBatchStream,
    stop: Stop,
) -> PgWireResult<QueryResponse> {
    check_formats(format, batches.schema().fields().len(), "result columns")?;
    let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
    let fields = Arc::new(arrow_schema_to_pg_fields(&batches.schema(), format, Some(options))?);
    let columns = Arc::clone(&fields);
    let rows = until_stopped(batches, stop).flat_map(move |batch| match batch {
        Ok(batch) => stream::iter(encode_recordbatch(Arc::clone(&columns), batch)).left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    });
    Ok(QueryResponse::new(fields, rows))
}

/// Format codes, if there are several, must be one for each value.
pub(super) fn check_formats(format: &Format, values: usize, what: &str) -> PgWireResult<()> {
    match format {
        Format::Individual(codes) if codes.len() != values => {
            let message = format!("bind message has {} formats for {values} {what}", codes.len());
            Err(sqlstate::error(sqlstate::PROTOCOL_VIOLATION, message))
        }
        _ => Ok(()),
    }
}

fn until_stopped(
    batches: SendableRecordBatchStream,
    stop: Stop,
) -> impl stream::Stream<Item = PgWireResult<datafusion::arrow::array::RecordBatch>> + Send {
    stream::unfold(Some((batches, stop)), |state| async move {
        let (mut batches, mut stop) = state?;
        tokio::select! {
            biased;
            reason = stop.reason() => Some((Err(reason), None)),
            batch = batches.next() => match batch? {
                Ok(batch) => Some((Ok(batch), Some((batches, stop)))),
                Err(error) => Some((Err(PgWireError::ApiError(Box::new(error))), None)),
            },
        }
    })
}
