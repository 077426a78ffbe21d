//! Functions of a program's own, in views and computed columns, also after a
//! restart.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use pluvio_embedded::Pluvio;
use pluvio_embedded::query::datafusion::error::Result;
use pluvio_embedded::query::datafusion::logical_expr::{
    Accumulator, ColumnarValue, Volatility, create_udaf, create_udf,
};
use pluvio_embedded::query::datafusion::scalar::ScalarValue;
use pluvio_embedded::query::functions::Functions;

fn double(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let numbers = arrays[0].as_primitive::<Int64Type>();
    Ok(ColumnarValue::Array(Arc::new(numbers.iter().map(|n| n.map(|n| n * 2)).collect::<Int64Array>())))
}

/// All values' bits, each on its own.
#[derive(Debug, Default)]
struct AllBits(i64);

impl Accumulator for AllBits {
    fn update_batch(&mut self, values: &[arrow::array::ArrayRef]) -> Result<()> {
        values[0].as_primitive::<Int64Type>().iter().flatten().for_each(|value| self.0 |= value);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::from(self.0))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::from(self.0)])
    }

    fn merge_batch(&mut self, states: &[arrow::array::ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

fn functions() -> Functions {
    let number = DataType::Int64;
    let double =
        create_udf("double", vec![number.clone()], number.clone(), Volatility::Immutable, Arc::new(double));
    let bits = create_udaf(
        "all_bits",
        vec![number.clone()],
        Arc::new(number.clone()),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::<AllBits>::default())),
        Arc::new(vec![number]),
    );
    Functions { scalar: vec![Arc::new(double)], aggregate: vec![Arc::new(bits)] }
}

async fn bits(pluvio: &Pluvio) -> Vec<(i64, i64)> {
    let rows = pluvio.query("SELECT k, bits FROM by_key ORDER BY k").await.unwrap();
    let pairs = rows.iter().flat_map(|rows| {
        let column = |i: usize| rows.column(i).as_primitive::<Int64Type>().values().to_vec();
        column(0).into_iter().zip(column(1))
    });
    pairs.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_of_the_users_own() {
    let folder = tempfile::tempdir().unwrap();
    let pluvio = Pluvio::open(folder.path(), functions()).await.unwrap();
    let define = "CREATE STREAM numbers (k BIGINT, n BIGINT, twice AS double(n));
        CREATE MATERIALIZED VIEW by_key AS SELECT k, all_bits(double(twice)) AS bits FROM numbers GROUP BY k";
    pluvio.execute(define).await.unwrap();
    pluvio.append("numbers", 0, &[br#"{"k":1,"n":1}"#, br#"{"k":2,"n":8}"#]).await.unwrap();
    pluvio.execute("FLUSH").await.unwrap();
    assert_eq!(bits(&pluvio).await, [(1, 4), (2, 32)]);
    let taken = Pluvio::open(folder.path(), functions()).await.err().unwrap();
    assert!(taken.message().contains("in use"), "{taken}");
    pluvio.close().await;

    let pluvio = Pluvio::open(folder.path(), functions()).await.unwrap();
    pluvio.append("numbers", 1, &[br#"{"k":1,"n":2}"#]).await.unwrap();
    pluvio.execute("FLUSH").await.unwrap();
    assert_eq!(bits(&pluvio).await, [(1, 12), (2, 32)]);
    let missing = pluvio.append("nowhere", 0, &[b"x"]).await.err().unwrap();
    assert!(missing.message().contains("nowhere"), "{missing}");
    pluvio.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generator_feeds_a_view() {
    let folder = tempfile::tempdir().unwrap();
    let pluvio = Pluvio::open(folder.path(), Functions::default()).await.unwrap();
    let define = "CREATE STREAM made (n BIGINT, word VARCHAR) WITH (connector = 'datagen', 'number-of-rows' = 5000,
            rows_per_second = 0, 'fields.n.kind' = 'sequence', 'fields.n.start' = 1, 'fields.word.length' = 3);
        CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(n) AS total, count(word) AS words FROM made";
    pluvio.execute(define).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let finished = "SELECT count(*) FROM pluvio.feeds WHERE state = 'finished' AND events = 5000";
    let count = |rows: Vec<arrow::array::RecordBatch>| rows[0].column(0).as_primitive::<Int64Type>().value(0);
    while count(pluvio.query(finished).await.unwrap()) == 0 {
        assert!(std::time::Instant::now() < deadline, "the generator does not finish");
        tokio::task::yield_now().await;
    }
    pluvio.execute("FLUSH").await.unwrap();
    let rows = pluvio.query("SELECT n, total, words FROM totals").await.unwrap();
    let value = |column: usize| rows[0].column(column).as_primitive::<Int64Type>().value(0);
    assert_eq!((value(0), value(1), value(2)), (5000, 12_502_500, 5000));
    pluvio.close().await;
}
