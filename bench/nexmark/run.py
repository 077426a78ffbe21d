"""Nexmark: q0 to q22 in Pluvio and in Flink, over the same events in the same queue, one query at a time.

    python bench/nexmark/run.py [--events 10000000] [--queries q0,q1] [--only pluvio|flink|both] [--pluvio PATH]
        [--state hash|rocksdb] [--runs 3] [--out FILE] [--note TEXT]

The events are in the topics before anything is measured. A query's clock and processor time go on until all its events
are in its results: Pluvio's FLUSH returns; Flink, reading up to the newest event there is, ends its job. They begin with
the statement in Pluvio, and after planning in Flink. For Pluvio they are of the whole process, which is the queue, too,
and keeps the results in a view that is on the disk; for Flink, of the Java process alone, which discards its results.
Both processes are new for each query and have run it before it counts: Flink's code is compiled then, and both have
their memory. A run begins when both are quiet. Told memory is the process's largest since its start.
Prints each run and writes bench/results/nexmark.json with the machine, the commit and every single run.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "queue"), str(ROOT / "compat")]
import queries  # noqa: E402
from brokers import cpu_seconds  # noqa: E402
from engines import STATES, Flink, Pluvio, Refused  # noqa: E402
from events import Events  # noqa: E402
from machine import machine, pluvio_binary, pluvio_commit  # noqa: E402

# Longest wait for both processes to do nothing before a run.
QUIET_SECONDS_MAX = 20
FLINK_VERSION = re.search(r"<flink.version>(.*)</flink.version>", (HERE / "flink/pom.xml").read_text())[1]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rate", type=int, default=10_000, help="events in a second of event time")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--queries", help="comma-separated (default: all)")
    parser.add_argument("--only", choices=["pluvio", "flink", "both"], default="both")
    parser.add_argument("--state", choices=list(STATES), default="hash", help="where Flink keeps state")
    parser.add_argument("--heap", default="4g", help="of Flink's Java")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--warm-ups", type=int, default=1,
                        help="runs before those that count; Flink's code takes about 5,000,000 events to get fast")
    parser.add_argument("--pluvio", type=pathlib.Path, default=None, help="the binary (default: the release build)")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "nexmark",
                        help="where the generated events are kept")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results" / "nexmark.json")
    parser.add_argument("--note", default="", help="a remark kept with the result")
    return parser.parse_args()


def measured(engine, query, expected):
    """One run's figures, or what went wrong in it, such as missed events. A topic that is read twice may count twice."""
    try:
        found = engine.run(query)
    except Refused as error:
        return {"error": str(error)}
    if found["events"] < expected:
        return {"error": f"took in {found['events']:,} of {expected:,} events"}
    found["events_per_cpu_second"] = round(expected / max(found["cpu_seconds"], 0.01))
    found["events_per_second"] = round(expected / found["seconds"])
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


def said(turn, query, name, found):
    text = found.get("error") or (f"{found['events_per_cpu_second']:>11,} events per CPU second  "
                                  f"{found['seconds']:7.2f} s  {found['cpu_seconds']:7.2f} CPU s  {found['rss_mb']:6.0f} MiB")
    print(f"{turn} {query:4} {name:7} {text}", flush=True)


def wait_for_quiet(pids):
    """Until the processes do next to nothing, such as compiling or compacting what the run before left."""
    deadline = time.monotonic() + QUIET_SECONDS_MAX
    while time.monotonic() < deadline:
        before = sum(map(cpu_seconds, pids))
        time.sleep(0.5)
        if sum(map(cpu_seconds, pids)) - before < 0.03:
            return


def run_query(query, queue, flink, args, expected):
    """All runs of a query, the engines in turn."""
    runs = {name: [] for name in ("pluvio", "flink") if args.only in (name, "both")}
    if "flink" in runs and query in queries.NOT_IN_FLINK:
        runs.pop("flink")
    engines = {"pluvio": queue, "flink": flink}
    try:
        queue.restart()
        if "flink" in runs:
            flink.start()
        for name in runs:
            for _ in range(args.warm_ups):
                said("warm", query, name, measured(engines[name], query, expected))
        for turn in range(args.runs):
            for name, results in runs.items():
                if results and "error" in results[-1]:
                    continue
                wait_for_quiet([queue.server.process.pid, *([flink.process.pid] if "flink" in runs else [])])
                results.append(measured(engines[name], query, expected))
                said(f"{turn + 1}/{args.runs} ", query, name, results[-1])
    finally:
        flink.stop()
    return runs


def medians(runs):
    """Each figure's median over the runs; None if any of them went wrong."""
    if not runs or any("error" in run for run in runs):
        return None
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


def summary(query, runs, expected):
    """A query's part of the record."""
    found = {name: medians(results) for name, results in runs.items()}
    part = {"reads": list(queries.READS[query]), "events": expected, **found, "runs": runs}
    if found.get("pluvio") and found.get("flink"):
        for figure in ("events_per_cpu_second", "events_per_second"):
            part[figure.replace("events", "times_flink")] = round(found["pluvio"][figure] / found["flink"][figure], 2)
        part["memory_of_flink"] = round(found["pluvio"]["rss_mb"] / found["flink"]["rss_mb"], 3)
    if query in queries.NOT_IN_FLINK:
        part["not_in_flink"] = queries.NOT_IN_FLINK[query]
    return part


def record(args, events, parts):
    ratios = [part["times_flink_per_cpu_second"] for part in parts.values() if "times_flink_per_cpu_second" in part]
    return {
        "benchmark": "nexmark",
        "what": "JSON events of Nexmark from the queue's topics; processor seconds of Pluvio with its queue, of Flink without",
        "note": args.note, "machine": machine(), "load_average_at_end": [round(x, 2) for x in os.getloadavg()],
        "commit": pluvio_commit(), "flink": {"version": FLINK_VERSION, "state": args.state, "heap": args.heap}, "warm_ups": args.warm_ups,
        "input": {**events.wanted, "bytes": events.bytes(), **events.counts},
        "times_flink_per_cpu_second": {
            "geometric_mean": round(statistics.geometric_mean(ratios), 2) if ratios else None,
            **{query: part.get("times_flink_per_cpu_second") for query, part in parts.items()},
        },
        "queries": parts,
    }


def main():
    args = arguments()
    wanted = queries.chosen(args.queries)
    os.environ["PLUVIO_BIN"] = str(args.pluvio or pluvio_binary())
    events = Events(args.data, args.events, args.rate, args.partitions, args.seed)
    parts = {}
    with tempfile.TemporaryDirectory(prefix="pluvio-nexmark-") as folder:
        queue = Pluvio(pathlib.Path(folder) / "pluvio", events)
        flink = Flink(pathlib.Path(folder) / "flink", queue.server.kafka, args.state, args.heap)
        try:
            queue.start()
            for query in wanted:
                expected = events.read_by(queries.READS[query])
                parts[query] = summary(query, run_query(query, queue, flink, args, expected), expected)
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps(record(args, events, parts), indent=1) + "\n")
        finally:
            queue.stop()
    print(json.dumps(record(args, events, parts)["times_flink_per_cpu_second"], indent=1))
    if any("error" in run for part in parts.values() for runs in part["runs"].values() for run in runs):
        sys.exit(1)


if __name__ == "__main__":
    main()
