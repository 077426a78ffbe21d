"""DuckDB as one plain batch: JSON files in, Parquet out. The reference tables are in memory before the clock starts."""

import time

import duckdb
from measure import Measured, arguments, check, report

args = arguments()
started = time.monotonic()
db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET preserve_insertion_order = false")
for table in ("persons", "companies"):
    db.execute(f"CREATE TABLE {table} AS SELECT * FROM read_csv('{args.data}/{table}.csv', "
               "columns = {'id': 'BIGINT', 'name': 'VARCHAR'}, header = true)")
load_seconds = round(time.monotonic() - started, 3)

with Measured() as measured:
    db.execute(f"""
        COPY (
            SELECT p.person_id, per.name AS person, p.company_id, com.name AS company, p.amount, p.paid_at
            FROM read_json('{args.data}/payments/*.jsonl', format = 'newline_delimited', columns = {{
                'person_id': 'BIGINT', 'company_id': 'BIGINT', 'amount': 'DOUBLE', 'paid_at': 'TIMESTAMP'}}) p
            LEFT JOIN persons per ON per.id = p.person_id
            LEFT JOIN companies com ON com.id = p.company_id
        ) TO '{args.out}/enriched.parquet' (FORMAT parquet, COMPRESSION snappy)
    """)
report("duckdb", duckdb.__version__, measured, check(args, args.out.glob("*.parquet")), load_seconds, kind="batch")
