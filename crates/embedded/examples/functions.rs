//! Pluvio as a library, with a scalar and an aggregate function of our own.
//!
//! ```sh
//! cargo run -p pluvio-embedded --example functions
//! ```

use std::error::Error;
use std::sync::Arc;

use pluvio_embedded::Pluvio;
use pluvio_embedded::query::datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use pluvio_embedded::query::datafusion::arrow::datatypes::{DataType, Float64Type};
use pluvio_embedded::query::datafusion::arrow::util::pretty::print_batches;
use pluvio_embedded::query::datafusion::error::Result;
use pluvio_embedded::query::datafusion::logical_expr::{
    Accumulator, ColumnarValue, Volatility, create_udaf, create_udf,
};
use pluvio_embedded::query::datafusion::scalar::ScalarValue;
use pluvio_embedded::query::functions::Functions;

/// Degrees Celsius of degrees Fahrenheit.
fn celsius(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let fahrenheit = arrays[0].as_primitive::<Float64Type>();
    let celsius: Float64Array = fahrenheit.iter().map(|f| f.map(|f| (f - 32.0) / 1.8)).collect();
    Ok(ColumnarValue::Array(Arc::new(celsius)))
}

/// The geometric mean: what is kept of a group is the sum of the logarithms, and
/// how many they are.
#[derive(Debug, Default)]
struct GeometricMean {
    logarithms: f64,
    count: u64,
}

impl Accumulator for GeometricMean {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            self.logarithms += value.ln();
            self.count += 1;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        #[allow(clippy::cast_precision_loss, reason = "a count of 2^53 values is out of reach")]
        let mean = (self.count > 0).then(|| (self.logarithms / self.count as f64).exp());
        Ok(ScalarValue::Float64(mean))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::from(self.logarithms), ScalarValue::from(self.count)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts =
            states[1].as_primitive::<pluvio_embedded::query::datafusion::arrow::datatypes::UInt64Type>();
        for (row, logarithms) in states[0].as_primitive::<Float64Type>().iter().enumerate() {
            self.logarithms += logarithms.unwrap_or_default();
            self.count += if counts.is_valid(row) { counts.value(row) } else { 0 };
        }
        Ok(())
    }
}

fn functions() -> Functions {
    let number = DataType::Float64;
    let celsius =
        create_udf("celsius", vec![number.clone()], number.clone(), Volatility::Immutable, Arc::new(celsius));
    let mean = create_udaf(
        "geometric_mean",
        vec![number.clone()],
        Arc::new(number.clone()),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::<GeometricMean>::default())),
        Arc::new(vec![number, DataType::UInt64]),
    );
    Functions { scalar: vec![Arc::new(celsius)], aggregate: vec![Arc::new(mean)] }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("pluvio-functions");
    let pluvio = Pluvio::open(&folder, functions()).await?;
    pluvio
        .execute(
            "CREATE STREAM IF NOT EXISTS readings (place VARCHAR, fahrenheit DOUBLE, warm AS celsius(fahrenheit) > 20);
             CREATE MATERIALIZED VIEW IF NOT EXISTS places AS
             SELECT place, geometric_mean(fahrenheit) AS mean, max(celsius(fahrenheit)) AS hottest,
               count(*) FILTER (WHERE warm) AS warm
             FROM readings GROUP BY place",
        )
        .await?;
    // As a producer would, and as SQL does.
    pluvio
        .append(
            "readings",
            0,
            &[br#"{"place":"Rome","fahrenheit":86}"#, br#"{"place":"Oslo","fahrenheit":50}"#],
        )
        .await?;
    pluvio.execute("INSERT INTO readings VALUES ('Rome', 68); FLUSH").await?;
    print_batches(&pluvio.query("SELECT * FROM places ORDER BY place").await?)?;
    pluvio.close().await;
    Ok(std::fs::remove_dir_all(&folder)?)
}
