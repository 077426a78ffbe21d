"""What the engine's benchmarks share: their common arguments, a platform that leaves nothing behind, tables, records.

A program prints a table for people and then its record as JSON; --record writes that to bench/results/NAME.json, too.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "queue"), str(HERE.parent / "compat")]
import harness  # noqa: E402
import numpy  # noqa: E402
from brokers import cpu_seconds  # noqa: E402
from machine import machine, pluvio_binary, pluvio_commit  # noqa: E402


def parser(description, name):
    """The arguments that every program has."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--pluvio", type=pathlib.Path, default=None, help="the binary (default: the release build)")
    made.add_argument("--record", action="store_true", help=f"write the result to bench/results/{name}.json")
    made.add_argument("--note", default="", help="a remark kept with the result")
    return made


def parsed(made):
    """The arguments' values. From here on, a request to end (SIGTERM) ends what was started, too."""
    args = made.parse_args()
    os.environ["PLUVIO_BIN"] = str(args.pluvio or pluvio_binary())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return args


def options(**values):
    """Options of the program as words: `trigger="1 ms"` is --trigger "1 ms"."""
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@contextlib.contextmanager
def platform(name, *arguments):
    """A platform that serves from a new folder, which is removed in the end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix=f"pluvio-{name}-", ignore_cleanup_errors=True) as folder:
        server = harness.Pluvio(folder, arguments=arguments)
        try:
            server.start()
            yield server
        finally:
            server.kill()


class Spent:
    """Wall and processor seconds of a process from `with` to its end; system calls included."""

    def __init__(self, server):
        self.pid = server.process.pid

    def __enter__(self):
        self.began, self.cpu = time.monotonic(), cpu_seconds(self.pid)
        return self

    def __exit__(self, *_):
        self.seconds = round(time.monotonic() - self.began, 3)
        self.cpu_seconds = round(cpu_seconds(self.pid) - self.cpu, 2)


def memory_mb(server):
    """Resident memory in MiB: the most there was since the start, and what is not backed by files now."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    found = {name: int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) / 1024 for name in ("VmHWM", "VmRSS", "RssAnon")}
    return {"rss_mb_max": round(found["VmHWM"], 1), "rss_mb": round(found["VmRSS"], 1),
            "anonymous_mb": round(found["RssAnon"], 1)}


def folder_mb(folder):
    """What a folder's files take on the disk, in MiB. Files may go while they are counted."""
    total = 0
    for path in pathlib.Path(folder).rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512
    return round(total / 2**20, 1)


def metric(server, name, label=""):
    """A number that the platform keeps of itself."""
    return int(server.one("SELECT value FROM pluvio.metrics WHERE name = %s AND label = %s", (name, label)))


def unwell(server):
    """What is wrong with the jobs: those that do not run or lag, and dead letters. Nothing if all is well."""
    jobs = server.sql("SELECT name, state, lag_events, error FROM pluvio.jobs WHERE state <> 'running' OR lag_events > 0")
    letters = server.sql("SELECT reason, count(*) FROM pluvio.dead_letters GROUP BY reason")
    return "; ".join([*map(str, jobs), *(f"dead letters: {each}" for each in letters)])


def quantiles(values, digits=2):
    """p50, p99 and the largest of some numbers."""
    if len(values) == 0:
        return {"p50": None, "p99": None, "max": None}
    return {"p50": round(float(numpy.quantile(values, 0.5)), digits), "p99": round(float(numpy.quantile(values, 0.99)), digits),
            "max": round(float(numpy.max(values)), digits)}


def shown(value):
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(columns, rows):
    """Prints rows (dictionaries) as a table: `columns` are pairs of a key and its heading."""
    cells = [[heading for _, heading in columns]] + [[shown(row.get(key)) for key, _ in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for line in cells:
        print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))))
    sys.stdout.flush()


def finish(args, name, what, body, wrong):
    """Prints the record, writes it if that is wanted, and ends with 1 if anything is wrong."""
    record = {"benchmark": name, "what": what, "note": args.note, "machine": machine(),
              "load_average_at_end": [round(x, 2) for x in os.getloadavg()], "commit": pluvio_commit(),
              **body, "wrong": wrong}
    written = json.dumps(record, indent=1)
    print(written)
    if args.record:
        out = HERE / "results" / f"{name}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(written + "\n")
    if wrong:
        sys.exit("wrong: " + "; ".join(wrong))
