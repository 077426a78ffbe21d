"""The year's 336,776 flights through examples/flights/pipeline.sql, sent by confluent-kafka: every view and the Delta
table must equal DuckDB over the same CSV files, row for row."""

import csv
import datetime
import gzip
import json
import shutil

import deltalake
import duckdb
import polars
import pytest
from compare import same_ordered, same_rows
from harness import ROOT, until
from kafka_client import Acknowledged, partitions_of

FLIGHTS = 336_776
TEXTS = {"carrier", "tailnum", "origin", "dest", "time_hour"}
ENRICHED = """
    SELECT f.time_hour, f.carrier, al.name AS airline, f.flight, f.tailnum,
           pl.manufacturer, pl.model, pl.year AS built, pl.seats,
           f.origin, o.name AS origin_name,
           f.dest, d.name AS dest_name, d.lat AS dest_lat, d.lon AS dest_lon, d.tzone AS dest_tzone,
           f.hour, f.dep_time, f.dep_delay, f.arr_time, f.arr_delay, f.air_time, f.distance
    FROM flights f
    LEFT JOIN airlines al ON al.carrier = f.carrier
    LEFT JOIN planes pl ON pl.tailnum = f.tailnum
    LEFT JOIN airports o ON o.faa = f.origin
    LEFT JOIN airports d ON d.faa = f.dest"""
# Each view of the example as a batch query: columns, how many of them are the key, SQL.
BATCH = {
    "delays_by_carrier_hour": (3, """
        SELECT time_hour AS window_start, carrier, airline, count(*) AS flights, count(dep_time) AS departed,
               sum(dep_delay) AS dep_minutes, avg(dep_delay) AS dep_delay_avg, max(dep_delay) AS dep_delay_max,
               sum(arr_delay) AS arr_minutes, avg(arr_delay) AS arr_delay_avg
        FROM enriched GROUP BY ALL"""),
    "delays_by_route": (4, """
        SELECT origin, dest, dest_name, distance, count(*) AS flights, count(arr_delay) AS arrived,
               sum(arr_delay) AS arr_minutes, avg(arr_delay) AS arr_delay_avg,
               min(air_time) AS air_time_min, max(air_time) AS air_time_max
        FROM enriched GROUP BY ALL"""),
    "worst_airports": (2, """
        SELECT dest, dest_name, count(arr_delay) AS arrived, sum(arr_delay) AS arr_minutes, avg(arr_delay) AS arr_delay_avg
        FROM enriched GROUP BY ALL HAVING count(arr_delay) >= 100 AND avg(arr_delay) >= 10"""),
    "days_closed": (3, """
        SELECT date_trunc('day', time_hour)::TIMESTAMP AS window_start,
               date_trunc('day', time_hour)::TIMESTAMP + INTERVAL 1 DAY AS window_end, origin,
               count(*) AS flights, count(dep_time) AS departed, sum(dep_delay) AS dep_minutes
        FROM enriched GROUP BY ALL"""),
}


def batch(shared_data):
    """DuckDB over the CSV files, with the view `enriched`."""
    db = duckdb.connect()
    folder = shared_data / "flights"
    for table, file in [("flights", "flights.csv.gz"), ("airlines", "airlines.csv"), ("airports", "airports.csv"), ("planes", "planes.csv")]:
        types = ", types = {'time_hour': 'VARCHAR'}" if table == "flights" else ""
        db.execute(f"CREATE TABLE {table} AS SELECT * FROM read_csv('{folder / file}', header = true, nullstr = 'NA', sample_size = -1{types})")
    db.execute("ALTER TABLE flights ALTER time_hour TYPE TIMESTAMP USING strptime(time_hour, '%Y-%m-%dT%H:%M:%SZ')")
    db.execute(f"CREATE TABLE enriched AS {ENRICHED}")
    assert db.execute("SELECT count(*) FROM enriched").fetchone() == (FLIGHTS,)
    return db


def events(shared_data):
    """The flights as JSON objects, NA as null, day after day. (The file has October after January.)"""
    with gzip.open(shared_data / "flights" / "flights.csv.gz", "rt") as file:
        for row in sorted(csv.DictReader(file), key=lambda row: (int(row["month"]), int(row["day"]))):
            yield json.dumps({k: None if v == "NA" else v if k in TEXTS else int(v) for k, v in row.items()})


def columns(db, view):
    key_count, query = BATCH[view]
    relation = db.execute(query)
    return key_count, [c[0] for c in relation.description], relation.fetchall()


@pytest.mark.parametrize("layout", ["as the example is", "four partitions"])
def test_every_view_and_the_lake_equal_the_batch_answer(platform, shared_data, tmp_path, layout):
    db = batch(shared_data)
    folder = tmp_path / "pipeline"
    shutil.copytree(ROOT / "examples" / "flights", folder)
    if layout == "four partitions":
        # Partitions are read side by side, so a day of order between them is not given: wait a year.
        text = (folder / "pipeline.sql").read_text()
        changed = text.replace("partitions = '1'", "partitions = '4'").replace("time_hour - INTERVAL '1' DAY", "time_hour - INTERVAL '400' DAY")
        assert changed.count("'400'") == 1 and changed.count("partitions = '4'") == 1, "the example was changed; change this too"
        (folder / "pipeline.sql").write_text(changed)
    p = platform(pipeline=folder / "pipeline.sql")

    producer = Acknowledged(p.kafka, compression_type="lz4", linger_ms=20)
    for i, event in enumerate(events(shared_data)):
        producer.send("flights", i, event)
    producer.flush(120)
    assert len(producer.acknowledged) == FLIGHTS and not producer.failed
    p.wait_for("SELECT count(*) FROM enriched", FLIGHTS, 120)
    assert p.one("SELECT count(*) FROM pluvio.dead_letters") == 0

    query = "SELECT {} FROM {}"
    names = [c[0] for c in db.execute("SELECT * FROM enriched").description]
    expected = db.execute("SELECT * FROM enriched").fetchall()
    same_rows("enriched", p.sql(query.format(", ".join(names), "enriched")), expected)

    for view in ("delays_by_route", "worst_airports", "delays_by_carrier_hour"):
        keys, names_of_view, rows = columns(db, view)
        got = p.sql(query.format(", ".join(names_of_view), view))
        same_ordered(view, got, rows, keys)

    lake = p.data / "lake" / "flights"
    until("the lake has all flights", lambda: deltalake.DeltaTable(str(lake)).to_pyarrow_table(columns=["flight"]).num_rows == FLIGHTS, 60)
    # deltalake as the reader, then polars as another one.
    table = deltalake.DeltaTable(str(lake)).to_pyarrow_table(columns=names)
    same_rows("the lake by deltalake", zip(*(column.to_pylist() for column in table.columns)), expected)
    frame = polars.scan_delta(str(lake)).group_by("origin", "dest").agg(
        polars.len().alias("n"), polars.col("arr_delay").sum().alias("minutes")).collect()
    by_route = db.execute("SELECT origin, dest, count(*), coalesce(sum(arr_delay), 0) FROM enriched GROUP BY ALL").fetchall()
    same_rows("the lake by polars", frame.rows(), by_route)
    same_rows("the lake in SQL", p.sql("SELECT origin, dest, count(*), coalesce(sum(arr_delay), 0) FROM lake.flights GROUP BY origin, dest"), by_route)

    # The last days are open until time moves on: one flight of another year, on every partition, closes them.
    later = json.dumps({"carrier": "XX", "origin": "XXX", "dest": "XXX", "time_hour": "2016-06-01T00:00:00Z"})
    for partition in range(partitions_of(p.kafka, "flights")):
        producer.send("flights", f"closing {partition}", later, partition=partition)
    producer.flush()
    keys, names_of_view, rows = columns(db, "days_closed")
    p.wait_for("SELECT count(*) FROM days_closed", len(rows), 60)
    same_ordered("days_closed", p.sql(query.format(", ".join(names_of_view), "days_closed")), rows, keys)


def test_the_example_runs_from_the_clone_with_its_own_month(platform):
    """As examples/flights/README.md says: pluvio run, pluvio produce, pluvio sql."""
    folder = ROOT / "examples" / "flights"
    p = platform(pipeline=folder / "pipeline.sql")
    lines = gzip.decompress((folder / "flights-2013-01.jsonl.gz").read_bytes()).decode()
    p.cli("produce", "flights", "--bootstrap", p.kafka, input=lines)
    p.wait_for("SELECT count(*) FROM enriched", lines.count("\n"), 60)
    minutes = sum(json.loads(line)["arr_delay"] or 0 for line in lines.splitlines())
    assert p.one("SELECT sum(arr_minutes) FROM delays_by_route") == minutes
    closed = p.sql("SELECT max(window_end) FROM days_closed")[0][0]
    assert closed == datetime.datetime(2013, 1, 31)
