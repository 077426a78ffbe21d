"""The queue: Pluvio and Apache Kafka over the same load, one after the other, on this machine.

    python3 bench/queue/run.py [--quick] [--only throughput,latency] [--pluvio PATH] [--note TEXT]

The load is librdkafka's own performance program (`librdkafka.py`), the same for both. Two cores saturate on the clients
first, so what counts is the broker's processor time: bytes, or records, per second of it, system calls included.
Both run each measurement in turn, --runs times, and the median counts; Kafka's virtual machine is warmed up first.
Prints a table and writes bench/results/queue.json with the machine, the commit and every single run.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
VENV = pathlib.Path(os.environ.get("PLUVIO_CACHE", pathlib.Path.home() / ".cache/pluvio")) / "venv/bin/python"
try:
    import psycopg  # noqa: F401 - compat/harness.py needs it
except ImportError:
    if not VENV.exists() or pathlib.Path(sys.executable) == VENV:
        sys.exit("needs the packages of compat/requirements.txt: see compat/README.md for the virtual environment")
    os.execv(VENV, [str(VENV), *sys.argv])

sys.path.insert(0, str(HERE.parent))
import brokers  # noqa: E402
import librdkafka  # noqa: E402
from machine import machine, pluvio_binary, pluvio_commit  # noqa: E402

AIMS = {
    "throughput": {"per_cpu_second_times_kafka_min": 3, "mb_per_cpu_second_aim": 800, "mb_per_second_times_kafka_min": 1},
    "small": {"per_cpu_second_times_kafka_min": 2},
    "latency": {"p99_ms_acks_1_max": 3, "p99_times_kafka_max": 1},
    "growth": {"cpu_per_gb_growth_max": 2},
    "memory": {"idle_mb_max": 30, "empty_partitions_mb_max": 200},
    "start": {"open_100_gb_ms_max": 1000},
}
LINGER_MS = 5
PARTITIONS_OF_GROWTH = [1, 10, 100, 1000]
EMPTY_PARTITIONS, TOPICS_OF_EMPTY = 10_000, 10


class Pair:
    """Both brokers running side by side; measurements go to one at a time."""

    def __init__(self, folder, binary, only=None):
        both = [brokers.pluvio(folder / "pluvio", binary), brokers.kafka(folder / "kafka")]
        self.brokers = [broker for broker in both if only in (None, broker.name)]
        self.topics = 0

    def __enter__(self):
        self.ready_seconds = {broker.name: round(broker.start(), 3) for broker in self.brokers}
        return self

    def __exit__(self, *_):
        for broker in self.brokers:
            broker.stop()

    def topic(self, broker, partitions, fsync=False):
        self.topics += 1
        name = f"bench-{self.topics}"
        broker.create_topic(name, partitions, fsync)
        return name


def produce_and_consume(pair, broker, load):
    """One producer and one consumer at the same time; what it cost the broker."""
    topic = pair.topic(broker, load["partitions"], fsync=load["acks"] == "all")
    cpu, began = broker.cpu_seconds(), time.monotonic()
    consumer = librdkafka.start_consumer(broker.address, topic, load["partitions"], load["records"])
    producer = librdkafka.start_producer(broker.address, topic, load["records"], load["bytes"], load["acks"], load["linger_ms"])
    try:
        librdkafka.finish_producer(producer)
        librdkafka.finish_consumer(consumer)
    finally:
        producer.kill()
        consumer.kill()
    seconds, cpu = time.monotonic() - began, broker.cpu_seconds() - cpu
    broker.delete_topic(topic)
    megabytes = load["records"] * load["bytes"] / 1e6
    return {
        "seconds": round(seconds, 3), "cpu_seconds": round(cpu, 2),
        "mb_per_second": round(megabytes / seconds, 1), "mb_per_cpu_second": round(megabytes / cpu, 1),
        "records_per_cpu_second": round(load["records"] / cpu), "cpu_seconds_per_gb": round(cpu / megabytes * 1000, 3),
    }


def touch(broker, topic, partitions):
    """A few records into every partition: a partition's first file is made with its first record, or with the topic."""
    each_by_chance = {"sticky.partitioning.linger.ms": 0}
    producer = librdkafka.start_producer(broker.address, topic, 20 * partitions, 20, "1", 0, each_by_chance)
    librdkafka.finish_producer(producer)


def paced(pair, broker, load):
    """A fixed rate; how long records take from being due to being consumed, and what it cost the broker."""
    topic = pair.topic(broker, load["partitions"], fsync=load["acks"] == "all")
    touch(broker, topic, load["partitions"])
    cpu = broker.cpu_seconds()
    found = librdkafka.paced(broker.address, topic, load["partitions"], load["bytes"], load["per_second"],
                          load["seconds"], load["acks"], load["linger_ms"])
    cpu = broker.cpu_seconds() - cpu
    broker.delete_topic(topic)
    gigabytes = found["sent"] * load["bytes"] / 1e9
    times = {f"{name}_ms": round(found[f"{name}_us"] / 1000, 3) for name in ("p50", "p99", "p999", "max")}
    return {**times, "cpu_seconds": round(cpu, 2), "cpu_seconds_per_gb": round(cpu / gigabytes, 3)}


def loads_of(size, records, all_acks, partitions, lingers):
    return [{"bytes": size, "records": records, "acks": acks, "partitions": count, "linger_ms": linger}
            for acks in all_acks for count in partitions for linger in lingers]


def name_of(load):
    words = [f"{load['bytes']} B", f"{load['partitions']} part."]
    words += [f"{load['per_second']:,}/s"] if "per_second" in load else []
    return " ".join([*words, f"acks={load['acks']}", f"linger {load['linger_ms']} ms"])


def measure(pair, how, loads, runs, show):
    """Every load on every broker in turn, `runs` times: a list of {load, pluvio: [runs], kafka: [runs]}."""
    results = [{"load": load, **{broker.name: [] for broker in pair.brokers}} for load in loads]
    for turn in range(runs):
        for result in results:
            for broker in pair.brokers:
                try:
                    measured = how(pair, broker, result["load"])
                except RuntimeError as error:
                    measured = {"error": str(error)}
                result[broker.name].append(measured)
                print(f"  {turn + 1}/{runs} {broker.name:7} {name_of(result['load'])}: {show(measured)}", flush=True)
    return results


def median(runs, what):
    values = [run[what] for run in runs or [] if what in run]
    return statistics.median(values) if values else None


def ratio(a, b):
    return round(a / b, 2) if a and b else None


def throughput(pair, quick, runs):
    records = 500_000 if quick else 1_000_000
    loads = loads_of(1000, records, ["1", "all"], [1, 8], [LINGER_MS])
    show = lambda run: run.get("error") or f"{run['mb_per_second']} MB/s, {run['mb_per_cpu_second']} MB per CPU second"
    return measure(pair, produce_and_consume, loads, runs, show)


def small(pair, quick, runs):
    loads = loads_of(100, 1_000_000 if quick else 3_000_000, ["1"], [8], [0, 5])
    show = lambda run: run.get("error") or f"{run['records_per_cpu_second']:,} records per CPU second"
    return measure(pair, produce_and_consume, loads, runs, show)


def latency(pair, quick, runs):
    loads = [{"bytes": 1000, "partitions": count, "per_second": 20_000, "seconds": 5 if quick else 10, "acks": acks,
              "linger_ms": 0} for acks, count in (("1", 1), ("1", 8), ("all", 1))]
    show = lambda run: run.get("error") or f"p50 {run['p50_ms']} ms, p99 {run['p99_ms']} ms"
    return measure(pair, paced, loads, runs, show)


def growth(pair, quick, runs):
    loads = [{"bytes": 1000, "partitions": count, "per_second": 50_000, "seconds": 5 if quick else 10, "acks": "1",
              "linger_ms": LINGER_MS} for count in PARTITIONS_OF_GROWTH]
    show = lambda run: run.get("error") or f"{run['cpu_seconds_per_gb']} CPU seconds per GB, p99 {run['p99_ms']} ms"
    return measure(pair, paced, loads, 1 if quick else 2, show)


def memory(folder, binary, only, quick):
    """Memory just after the start, and with many empty partitions."""
    found = {}
    with Pair(folder, binary, only) as pair:
        for broker in pair.brokers:
            idle = broker.memory_mb()
            began = time.monotonic()
            for topic in range(TOPICS_OF_EMPTY):
                # Kafka is asked for a tenth: it needs a minute for that.
                count = EMPTY_PARTITIONS // TOPICS_OF_EMPTY
                broker.create_topic(f"empty-{topic}", count if broker.name == "pluvio" else count // 10)
            many = broker.memory_mb()
            partitions = EMPTY_PARTITIONS if broker.name == "pluvio" else EMPTY_PARTITIONS // 10
            found[broker.name] = {
                "ready_seconds": pair.ready_seconds[broker.name], "idle": idle, "partitions": partitions,
                "seconds_to_make_them": round(time.monotonic() - began, 2), "with_partitions": many,
                "mb_per_10000_partitions": round((many["rss_mb"] - idle["rss_mb"]) * 10_000 / partitions, 1),
            }
            print(f"  {broker.name}: {found[broker.name]}", flush=True)
    return found


def start():
    """A log of 100 GB opened by itself, closed cleanly before and killed: the example scale_bench of the log's crate."""
    command = ["cargo", "run", "-q", "--release", "-p", "pluvio-eventlog", "--example", "scale_bench"]
    found = json.loads(subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout)
    print(f"  {found}", flush=True)
    return found


def warm_up(pair, quick):
    """Until the virtual machine has compiled what the measurements use."""
    for broker in pair.brokers:
        for linger in (0, 5):
            load = {"bytes": 1000, "records": 300_000 if quick else 1_000_000, "acks": "1", "partitions": 8, "linger_ms": linger}
            produce_and_consume(pair, broker, load)
        paced(pair, broker, {"bytes": 1000, "partitions": 1, "per_second": 20_000, "seconds": 5, "acks": "1", "linger_ms": 0})


def compared(results, what):
    """Each load's medians of both, and how many times Kafka's figure Pluvio's is."""
    rows = []
    for result in results:
        ours, theirs = (median(result.get(name), what) for name in ("pluvio", "kafka"))
        rows.append({"load": name_of(result["load"]), "pluvio": ours, "kafka": theirs, "times_kafka": ratio(ours, theirs)})
    return rows


def growth_of(results, name):
    """The dearest number of partitions to the cheapest with fewer."""
    costs = [median(result.get(name), "cpu_seconds_per_gb") for result in results]
    if not costs or None in costs:
        return None
    return round(max(later / min(costs[:i + 1]) for i, later in enumerate(costs)), 2)


def summarise(record):
    """What the aims are about, from the runs."""
    parts, summary = record["runs"], {}
    tables = {"throughput": ["mb_per_second", "mb_per_cpu_second"], "small": ["records_per_cpu_second"],
              "latency": ["p50_ms", "p99_ms", "cpu_seconds_per_gb"], "growth": ["cpu_seconds_per_gb", "p99_ms"]}
    for part, figures in tables.items():
        if part in parts:
            summary[part] = {figure: compared(parts[part], figure) for figure in figures}
    if "growth" in parts:
        summary["growth"]["times"] = {name: growth_of(parts["growth"], name) for name in ("pluvio", "kafka")}
    return summary | {part: parts[part] for part in ("memory", "start") if part in parts}


def print_table(summary):
    print(f"\n{'':58}{'Pluvio':>12}{'Kafka':>12}{'times':>8}")
    for part, figures in summary.items():
        for figure, rows in figures.items():
            if not isinstance(rows, list):
                continue
            print(f"{part}: {figure.replace('_', ' ')}")
            for row in rows:
                cells = [f"{row[name]:>12,}" if row[name] is not None else f"{'-':>12}" for name in ("pluvio", "kafka")]
                print(f"    {row['load']:54}{''.join(cells)}{row['times_kafka'] or '-':>8}")
    if "growth" in summary:
        print(f"growth of CPU per GB up to 1,000 partitions: {summary['growth']['times']}")
    if "start" in summary:
        print(f"start with 100 GB in the log: {summary['start']}")
    for name, found in summary.get("memory", {}).items():
        print(f"memory of {name}: idle {found['idle']['rss_mb']} MB ({found['idle']['anonymous_mb']} MB anonymous), "
              f"{found['mb_per_10000_partitions']} MB more per 10,000 empty partitions")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything: two minutes instead of twelve")
    parser.add_argument("--runs", type=int, default=None, help="how often each measurement is made (default: 3, quick: 1)")
    parser.add_argument("--only", help="parts, comma-separated: throughput, small, latency, growth, memory, start")
    parser.add_argument("--broker", choices=["pluvio", "kafka"], help="measure one of the two only")
    parser.add_argument("--pluvio", type=pathlib.Path, default=None, help="the binary (default: the release build)")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results" / "queue.json")
    parser.add_argument("--note", default="", help="a remark kept with the result")
    args = parser.parse_args()
    binary = args.pluvio or pluvio_binary()
    parts = {"throughput": throughput, "small": small, "latency": latency, "growth": growth}
    wanted = args.only.split(",") if args.only else [*parts, "memory", "start"]
    runs = args.runs or (1 if args.quick else 3)
    librdkafka.paced_program()

    record = {
        "benchmark": "queue", "aims": AIMS, "note": args.note, "quick": args.quick, "machine": machine(),
        "commit": pluvio_commit(), "kafka": brokers.kafka_oracle.VERSION, "client": f"librdkafka {librdkafka.VERSION}",
        "load_average_at_start": [round(x, 2) for x in os.getloadavg()], "runs": {},
    }
    with tempfile.TemporaryDirectory(prefix="pluvio-queue-") as folder:
        folder = pathlib.Path(folder)
        with Pair(folder, binary, args.broker) as pair:
            print("warming up", flush=True)
            warm_up(pair, args.quick)
            for part in [part for part in parts if part in wanted]:
                print(part, flush=True)
                record["runs"][part] = parts[part](pair, args.quick, runs)
        if "memory" in wanted:
            print("memory", flush=True)
            record["runs"]["memory"] = memory(folder, binary, args.broker, args.quick)
    if "start" in wanted:
        print("start", flush=True)
        record["runs"]["start"] = start()
    record["summary"] = summarise(record)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print_table(record["summary"])
    if '"error"' in json.dumps(record["runs"]):
        sys.exit("some measurements failed; they are in the result")


if __name__ == "__main__":
    main()
