"""What every peer shares: arguments, the clock, memory and CPU of the process tree, and the check of the result.

A peer calls `arguments()`, loads the reference tables, opens `Measured()` around the enrichment alone, and ends
with `report()`. Memory is the largest sum of resident bytes of the process and its children while measured.
"""

import argparse
import json
import pathlib
import shutil
import threading
import time

import psutil


def arguments():
    """--data (made by generate.py) and --out (emptied first)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    return args


def tree():
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def cpu_seconds():
    total = 0.0
    for process in tree():
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.NoSuchProcess:
            pass
    return total


class Measured:
    """`with Measured() as m:`; then m.seconds, m.cpu_seconds, m.rss_mb_max."""

    def __enter__(self):
        self.rss = 0
        self.stop = threading.Event()
        self.sampler = threading.Thread(target=self.sample, daemon=True)
        self.sampler.start()
        self.cpu_start = cpu_seconds()
        self.start = time.monotonic()
        return self

    def sample(self):
        while not self.stop.wait(0.05):
            total = 0
            for process in tree():
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    pass
            self.rss = max(self.rss, total)

    def __exit__(self, *_):
        self.seconds = round(time.monotonic() - self.start, 3)
        self.cpu_seconds = round(cpu_seconds() - self.cpu_start, 2)
        self.stop.set()
        self.sampler.join()
        self.rss_mb_max = round(self.rss / 2**20)


def check(args, files, reader="read_parquet", options=""):
    """Compares the result's files with expected.json; returns the number of rows."""
    import duckdb

    expected = json.loads((args.data / "expected.json").read_text())["expected"]
    files = [str(path) for path in files]
    row = duckdb.connect().execute(
        f"""SELECT count(*) AS rows, sum(round(amount * 100)::BIGINT)::BIGINT AS cents,
                   count(*) FILTER (person IS NULL) AS unknown_persons,
                   sum(length(person))::BIGINT AS person_name_bytes, sum(length(company))::BIGINT AS company_name_bytes,
                   count(paid_at) AS dated
            FROM {reader}({files}{options})"""
    ).fetchone()
    got = dict(zip(["rows", "cents", "unknown_persons", "person_name_bytes", "company_name_bytes"], row))
    wrong = {k: (v, expected[k]) for k, v in got.items() if v != expected[k]}
    if wrong or row[5] != expected["rows"]:
        raise SystemExit(f"the result is wrong (got, expected): {wrong}, {row[5]} rows with paid_at")
    return got["rows"]


def report(peer, version, measured, rows, load_seconds, **more):
    print(json.dumps({
        "peer": peer, "version": version, "seconds": measured.seconds, "load_seconds": load_seconds, "rows": rows,
        "rss_mb_max": measured.rss_mb_max, "cpu_seconds": measured.cpu_seconds, **more,
    }), flush=True)
