"""Polars as one plain batch: JSON files in, Parquet out. The reference tables are in memory before the clock starts."""

import time

import polars as pl
from measure import Measured, arguments, check, report

args = arguments()
started = time.monotonic()
persons = pl.read_csv(args.data / "persons.csv", schema={"id": pl.Int64, "name": pl.String}).rename({"name": "person"})
companies = pl.read_csv(args.data / "companies.csv", schema={"id": pl.Int64, "name": pl.String}).rename({"name": "company"})
load_seconds = round(time.monotonic() - started, 3)

with Measured() as measured:
    (
        pl.scan_ndjson(
            sorted((args.data / "payments").glob("*.jsonl")),
            schema={"person_id": pl.Int64, "company_id": pl.Int64, "amount": pl.Float64, "paid_at": pl.String},
        )
        .with_columns(pl.col("paid_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="us"))
        .join(persons.lazy(), left_on="person_id", right_on="id", how="left", maintain_order="none")
        .join(companies.lazy(), left_on="company_id", right_on="id", how="left", maintain_order="none")
        .select("person_id", "person", "company_id", "company", "amount", "paid_at")
        .sink_parquet(args.out / "enriched.parquet", compression="snappy")
    )
report("polars", pl.__version__, measured, check(args, args.out.glob("*.parquet")), load_seconds, kind="batch")
