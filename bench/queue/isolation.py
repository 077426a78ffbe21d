"""Isolation: what a batch query that takes all it can get does to producers of the same process.

    python3 bench/queue/isolation.py [--pluvio PATH] [--runs 3] [--connections 4]

The flights example runs; then the queue is measured quiet, beside one spinning process for each processor, and while
several connections join the flights with themselves over and over, in turn. The spinning processes are not Pluvio's and
have the system's lowest class (SCHED_IDLE): what they cost is the machine's own price for being busy, below which
nothing that runs in the server can come. Prints all and writes bench/results/isolation.json.
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import run  # noqa: F401 - finds the packages, or starts this program again where they are
import brokers
import librdkafka
from brokers import harness
from machine import ROOT, machine, pluvio_binary, pluvio_commit

RATIO_MAX = 1.5
FLIGHTS = ROOT / "examples/flights"
PACED = {"bytes": 1000, "partitions": 1, "per_second": 20_000, "seconds": 8, "acks": "1", "linger_ms": 0}
FULL_SPEED = {"bytes": 1000, "partitions": 8, "records": 1_000_000, "acks": "1", "linger_ms": 5}
HEAVY = """
    SELECT a.carrier, b.carrier, count(*), avg(a.dep_delay + b.arr_delay), max(a.distance * b.air_time)
    FROM enriched a JOIN enriched b ON a.origin = b.origin AND a.dest = b.dest
    GROUP BY a.carrier, b.carrier ORDER BY 3 DESC"""


class Queries:
    """Connections that run the heavy query one after the other until told to stop."""

    def __init__(self, server, connections):
        self.server, self.done, self.stopping, self.errors = server, 0, threading.Event(), []
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(connections)]

    def work(self):
        try:
            with self.server.connect() as connection:
                while not self.stopping.is_set():
                    connection.execute(HEAVY).fetchall()
                    self.done += 1
        except Exception as error:  # noqa: BLE001 - told at the end
            self.errors.append(str(error))

    def __enter__(self):
        self.cpu = brokers.cpu_seconds(self.server.process.pid)
        self.began = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise RuntimeError(f"a query failed: {self.errors[0]}")


class Nothing:
    done = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Spinning(Nothing):
    """Processes that take what nobody else wants."""

    def __enter__(self):
        spin = ["chrt", "--idle", "0", sys.executable, "-c", "while True: pass"]
        self.processes = [subprocess.Popen(spin) for _ in range(os.cpu_count())]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


def load_flights(server):
    """Feeds the example's flights and waits until its views have them."""
    events = FLIGHTS / "flights-2013-01.jsonl.gz"
    server.cli("produce", "flights", "--bootstrap", server.kafka, "--file", str(events))
    server.wait_for("SELECT count(*) FROM enriched", gzip.decompress(events.read_bytes()).count(b"\n"))


def measure(broker, topics, busy):
    """The pace and the full speed of a producer, with or without the queries."""
    with busy:
        names = []
        for load in (PACED, FULL_SPEED):
            names.append(f"isolation-{next(topics)}")
            broker.create_topic(names[-1], load["partitions"])
        paced = librdkafka.paced(broker.address, names[0], *(PACED[word] for word in (
            "partitions", "bytes", "per_second", "seconds", "acks", "linger_ms")))
        producer = librdkafka.start_producer(broker.address, names[1], *(FULL_SPEED[word] for word in (
            "records", "bytes", "acks", "linger_ms")))
        seconds = librdkafka.finish_producer(producer) / 1000
    for name in names:
        broker.delete_topic(name)
    return {
        "produce_p50_ms": paced["ack_p50_us"] / 1000, "produce_p99_ms": paced["ack_p99_us"] / 1000,
        "consume_p99_ms": paced["p99_us"] / 1000,
        "mb_per_second": round(FULL_SPEED["records"] * FULL_SPEED["bytes"] / 1e6 / seconds, 1), "queries": busy.done,
    }


def medians(runs):
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pluvio", type=pathlib.Path, default=None, help="the binary (default: the release build)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results/isolation.json")
    parser.add_argument("--note", default="", help="a remark kept with the result")
    args = parser.parse_args()
    runs = {"quiet": [], "spinning": [], "busy": []}
    with tempfile.TemporaryDirectory(prefix="pluvio-isolation-") as folder:
        broker = brokers.pluvio(pathlib.Path(folder) / "pluvio", args.pluvio or pluvio_binary(),
                                pipeline=FLIGHTS / "pipeline.sql")
        try:
            broker.start()
            load_flights(broker.server)
            topics = iter(range(10_000))
            measure(broker, topics, Nothing())
            for turn in range(args.runs):
                for name in runs:
                    beside = {"quiet": Nothing, "spinning": Spinning,
                              "busy": lambda: Queries(broker.server, args.connections)}[name]()
                    runs[name].append(measure(broker, topics, beside))
                    print(f"{turn + 1}/{args.runs} {name:6} {runs[name][-1]}", flush=True)
        finally:
            broker.stop()
    found = {name: medians(each) for name, each in runs.items()}
    ratios = {f"to {base}": {
        "produce_p99": round(found["busy"]["produce_p99_ms"] / found[base]["produce_p99_ms"], 2),
        "throughput": round(found[base]["mb_per_second"] / found["busy"]["mb_per_second"], 2),
    } for base in ("quiet", "spinning")}
    record = {
        "benchmark": "isolation", "aims": {"ratio_max": RATIO_MAX}, "note": args.note, "machine": machine(),
        "commit": pluvio_commit(), "connections": args.connections, "query": " ".join(HEAVY.split()),
        "loads": {"paced": PACED, "full_speed": FULL_SPEED}, **found, "ratios": ratios, "runs": runs,
        "reached": {base: {name: ratio <= RATIO_MAX for name, ratio in each.items()} for base, each in ratios.items()},
    }
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({**found, "ratios": ratios, "reached": record["reached"]}, indent=1))


if __name__ == "__main__":
    main()
