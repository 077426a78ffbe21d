//! Writes a small lake table for other Delta readers to try.
//!
//! `cargo run -p pluvio-lake --example lake_sample FOLDER`

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use pluvio_lake::{LakeOptions, LakeTable};

const COMMITS: i64 = 25;
const ROWS_PER_COMMIT: i64 = 400;
const FIRST_US: i64 = 1_700_000_000_000_000;

fn rows(from: i64, to: i64) -> Result<RecordBatch, arrow::error::ArrowError> {
    let ids = || from..to;
    let money = Decimal128Array::from_iter_values(ids().map(i128::from)).with_precision_and_scale(12, 2)?;
    let columns: [(&str, ArrayRef); 7] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids()))),
        (
            "amount",
            Arc::new(Float64Array::from_iter(ids().map(|id| (id % 7 != 0).then_some(id as f64 / 4.0)))),
        ),
        ("paid_at", Arc::new(TimestampMicrosecondArray::from_iter_values(ids().map(|id| FIRST_US + id)))),
        ("person", Arc::new(StringArray::from_iter_values(ids().map(|id| format!("person {id:08}"))))),
        (
            "day",
            Arc::new(Date32Array::from_iter_values(
                ids().map(|id| 19_000 + i32::try_from(id % 100).unwrap_or(0)),
            )),
        ),
        ("large", Arc::new(BooleanArray::from_iter(ids().map(|id| Some(id > 5000))))),
        ("money", Arc::new(money)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name != "id")))
}

async fn write(folder: PathBuf) -> Result<(), Box<dyn Error>> {
    let options = LakeOptions { checkpoint_versions: 10, ..LakeOptions::default() };
    let table = LakeTable::open(&folder, "sample", rows(0, 0)?.schema(), options).await?;
    let mut writer = table.writer("sample");
    for epoch in 0..COMMITS {
        writer.write(epoch, &rows(epoch * ROWS_PER_COMMIT, (epoch + 1) * ROWS_PER_COMMIT)?)?;
        writer.commit().await?;
        if epoch % 9 == 8 {
            table.maintain().await?;
        }
    }
    println!("version {} with {} rows in {} files", table.version(), table.rows(), table.files());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("give a folder")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(write(folder.into()))
}
