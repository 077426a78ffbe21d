"""The storm job with parallelism 1 and 2: the same payments in the topic, enriched into a real-time table and Delta.

    python bench/parallel/run.py [--payments 1000000] [--runs 3] [--by auto|cores|option:NAME|view:NAME] [--record]

How the parallelism is set: by an option of the program (`option:workers` is --workers N), by one of the view
(`view:parallelism` is WITH (parallelism = 'N')), or, where there is neither, by the cores that the process may run on.
`auto` takes the first of the known options that `pluvio config` lists, and otherwise cores. Unlike with `bench/storm`
the job comes through the PostgreSQL door, and the clock runs until pluvio.jobs says that the view has every event and
the sink has delivered every row.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]
import runs  # noqa: E402
import harness  # noqa: E402
from load import Sender, lines_batch  # noqa: E402

WHAT = "seconds and processor seconds of the storm job (payments enriched with two names, a table and Delta) by parallelism"
FIGURES = ("seconds", "cpu_seconds", "rss_mb_max")
AIMS = {"times_faster_min": 1.7}
KNOWN_OPTIONS = ("parallelism", "engine_parallelism", "workers", "engine_workers", "engine_threads")
LINES_PER_BATCH = 500
SECONDS_MAX = 300
STREAM = """CREATE STREAM payments (person_id BIGINT, company_id BIGINT, amount DOUBLE, paid_at TIMESTAMP)
WITH (topic = 'payments', format = 'json', partitions = '{partitions}')"""
TABLES = ["CREATE TABLE persons (id BIGINT PRIMARY KEY, name VARCHAR)",
          "CREATE TABLE companies (id BIGINT PRIMARY KEY, name VARCHAR)",
          "COPY persons FROM '{data}/persons.csv'", "COPY companies FROM '{data}/companies.csv'"]
VIEW = """CREATE MATERIALIZED VIEW enriched WITH (retention_bytes = '256 MiB' {more}) AS
SELECT p.*, per.name AS person, com.name AS company FROM payments p
LEFT JOIN persons per ON per.id = p.person_id LEFT JOIN companies com ON com.id = p.company_id"""
SINK = "CREATE SINK archive INTO LAKE 'payments' FROM enriched WITH (commit_interval = '100 ms')"


def arguments():
    parser = runs.parser(__doc__, "parallel")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "parallel",
                        help="where the payments are made; removed in the end")
    parser.add_argument("--payments", type=int, default=1_000_000)
    parser.add_argument("--persons", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--parallelism", default="1,2", help="comma-separated; the ratio is of the first to the last")
    parser.add_argument("--by", default="auto", help="auto, cores, option:NAME or view:NAME")
    return runs.parsed(parser)


def chosen(by):
    """How the parallelism is set."""
    if by != "auto":
        return by
    listed = harness.Pluvio.cli("config").stdout
    names = [name for name in KNOWN_OPTIONS if f"\n{name} = " in f"\n{listed}"]
    return f"option:{names[0]}" if names else "cores"


def generate(args):
    """Makes the payments; what the sums over the result must be."""
    subprocess.run([sys.executable, str(HERE.parent / "storm/generate.py"), "--out", str(args.data),
                    "--payments", str(args.payments), "--persons", str(args.persons)], check=True)
    return json.loads((args.data / "expected.json").read_text())["expected"]


def fill(server, args):
    with Sender(server.kafka, "payments", args.partitions) as sender:
        turn = 0
        for path in sorted((args.data / "payments").glob("*.jsonl")):
            lines = path.read_bytes().split(b"\n")[:-1]
            for first in range(0, len(lines), LINES_PER_BATCH):
                sender.send(turn % args.partitions, lines_batch(lines[first:first + LINES_PER_BATCH]))
                turn += 1


def measure(parallelism, by, args, expected):
    """One run in a platform of its own."""
    kind, _, name = by.partition(":")
    words = runs.options(**{name: parallelism}) if kind == "option" else []
    all_cores = os.sched_getaffinity(0)
    if kind == "cores":
        # The process inherits it; this one takes it back.
        os.sched_setaffinity(0, sorted(all_cores)[:parallelism])
    try:
        with runs.platform("parallel", *words) as server:
            os.sched_setaffinity(0, all_cores)
            return run(server, f", {name} = '{parallelism}'" if kind == "view" else "", args, expected)
    finally:
        os.sched_setaffinity(0, all_cores)


def run(server, more, args, expected):
    with server.connect() as connection:
        connection.execute(STREAM.format(partitions=args.partitions))
        for statement in TABLES:
            connection.execute(statement.format(data=args.data))
        fill(server, args)
        done = "SELECT min(rows_in) FROM pluvio.jobs WHERE name IN ('enriched', 'archive')"
        with runs.Spent(server) as spent:
            connection.execute(VIEW.format(more=more))
            connection.execute(SINK)
            harness.until("everything is delivered", lambda: connection.execute(done).fetchone()[0] >= expected["rows"],
                          SECONDS_MAX, pause=0.02)
            harness.until("no job lags", lambda: not runs.unwell(server), SECONDS_MAX, pause=0.02)
        rows, amount, persons = connection.execute("SELECT count(*), sum(amount), count(person) FROM lake.payments").fetchone()
    right = (rows, round(amount * 100), persons) == (expected["rows"], expected["cents"],
                                                     expected["rows"] - expected["unknown_persons"])
    return {"seconds": spent.seconds, "cpu_seconds": spent.cpu_seconds, "right": right,
            "rss_mb_max": runs.memory_mb(server)["rss_mb_max"]}


def main():
    args = arguments()
    by = chosen(args.by)
    wanted = [int(word) for word in args.parallelism.split(",")]
    results = {each: [] for each in wanted}
    try:
        expected = generate(args)
        for turn in range(args.runs):
            for each in wanted:
                results[each].append(measure(each, by, args, expected))
                print(f"{turn + 1}/{args.runs} parallelism {each}: {results[each][-1]}", flush=True)
    finally:
        shutil.rmtree(args.data, ignore_errors=True)
    median = {each: {name: round(statistics.median(run[name] for run in found), 3) for name in FIGURES}
              for each, found in results.items()}
    faster = round(median[wanted[0]]["seconds"] / median[wanted[-1]]["seconds"], 2)
    print(f"\nThe storm by parallelism, set by {by}; a process's cores: {os.cpu_count()}")
    runs.table([("parallelism", "parallelism"), ("seconds", "s"), ("cpu_seconds", "CPU s"), ("rss_mb_max", "MiB")],
               [{"parallelism": each, **found} for each, found in median.items()])
    print(f"times faster: {faster}")
    wrong = [f"parallelism {each}: a wrong sum" for each, found in results.items() if not all(run["right"] for run in found)]
    runs.finish(args, "parallel", WHAT, {
        "set_by": by, "payments": args.payments, "partitions": args.partitions, "aims": AIMS, "times_faster": faster,
        "reached": faster >= AIMS["times_faster_min"], "median": median, "runs": results}, wrong)


if __name__ == "__main__":
    main()
