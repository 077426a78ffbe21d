"""Spark Structured Streaming: a file source of 100,000 payments per micro-batch, a checkpoint, a Parquet sink.

The reference tables are cached before the clock starts and joined by broadcast, which is the fastest way Spark has
here. --files-per-trigger 10 puts everything in one micro-batch.
"""

import argparse
import os
import sys
import time

parser = argparse.ArgumentParser(add_help=False)
parser.add_argument("--files-per-trigger", type=int, default=1)
own, rest = parser.parse_known_args()
sys.argv[1:] = rest

import pyspark
from measure import Measured, arguments, check, report
from pyspark.sql import SparkSession
from pyspark.sql.functions import broadcast, col

args = arguments()
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
spark = (
    SparkSession.builder.master("local[2]").appName("storm")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "4g")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.autoBroadcastJoinThreshold", str(256 << 20))
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")

started = time.monotonic()
reference = {}
for table in ("persons", "companies"):
    frame = spark.read.csv(str(args.data / f"{table}.csv"), schema="id BIGINT, name STRING", header=True).cache()
    frame.count()
    reference[table] = frame
load_seconds = round(time.monotonic() - started, 3)

payments = (
    spark.readStream.schema("person_id BIGINT, company_id BIGINT, amount DOUBLE, paid_at TIMESTAMP")
    .option("maxFilesPerTrigger", own.files_per_trigger)
    .json(str(args.data / "payments"))
)
persons = broadcast(reference["persons"].select(col("id").alias("person_id"), col("name").alias("person")))
companies = broadcast(reference["companies"].select(col("id").alias("company_id"), col("name").alias("company")))
enriched = (
    payments.join(persons, "person_id", "left").join(companies, "company_id", "left")
    .select("person_id", "person", "company_id", "company", "amount", "paid_at")
)
with Measured() as measured:
    query = (
        enriched.writeStream.format("parquet")
        .option("path", str(args.out / "enriched"))
        .option("checkpointLocation", str(args.out / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
batches = [p for p in query.recentProgress if p["numInputRows"] > 0]
rows = check(args, (args.out / "enriched").glob("*.parquet"))
name = "spark" if own.files_per_trigger == 1 else "spark_one_batch"
report(name, pyspark.__version__, measured, rows, load_seconds, kind="stream", micro_batches=len(batches),
       first_batch_ms=batches[0]["durationMs"]["triggerExecution"],
       last_batch_ms=batches[-1]["durationMs"]["triggerExecution"])
spark.stop()
