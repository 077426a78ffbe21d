"""Nexmark's answers: what Pluvio's views hold, or Flink's queries give, beside what DuckDB computes of the same events.

    python bench/nexmark/check.py [--queries q0,q1] [--engine pluvio|flink] [--events 100000] [--pluvio PATH]

Row for row, whatever the order; numbers that are not whole to 9 digits. By default 1,000 events are in a second of event
time, so no two have the same: what the benchmark leaves open for equal times has one answer then. Windows count
that the watermark closed; Flink closes all of them at the end of its input. Says what is wrong and ends with 1.
"""

import argparse
import collections
import datetime
import decimal
import os
import pathlib
import re
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "queue"), str(ROOT / "compat")]
import duckdb  # noqa: E402
import harness  # noqa: E402
import queries  # noqa: E402
from engines import STATES, Flink, Pluvio, Refused  # noqa: E402
from events import Events  # noqa: E402
from machine import pluvio_binary  # noqa: E402

# Which of two bids of the same price is the tenth, or comes first, is open: such rows are compared by these columns
# alone, and each whole row without its rank has to be a bid.
OPEN_TIES = {"q19": (0, 2, 7)}
# A window of processing time depends on the hour. The sum of a bidder's windows does not.
SELECTED = {"q12": "SELECT bidder, sum(bid_count) FROM q12 GROUP BY bidder"}
PROCESSING_TIME_SECONDS = 30
TIME = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d[0-9:.]*)Z?$")
# Without an end of the input, these windows are not all told in Flink.
NOT_TOLD_BY_FLINK = {"q12"}
# Flink's average of whole numbers is whole: the column, cut off.
WHOLE_AVERAGES = {"q4": 1, "q17": 8}


def canonical(value):
    """A value as both sides write it: whole numbers, 9 digits of others, times as ISO text, NULL."""
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return TIME.sub(lambda found: datetime.datetime.fromisoformat(found[1]).isoformat(timespec="milliseconds"), value)
        return canonical(number)
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds")
    if isinstance(value, (float, decimal.Decimal)):
        return f"{float(value):.9g}" if float(value) % 1 else str(int(value))
    return "null" if value is None else str(value)


def whole_averages(query, row):
    place = WHOLE_AVERAGES.get(query)
    return tuple(int(value) if i == place else value for i, value in enumerate(row))


def counted(rows):
    return collections.Counter(tuple(map(canonical, row)) for row in rows)


class Oracle:
    """DuckDB with the events of the generator's files."""

    def __init__(self, folder):
        self.connection = duckdb.connect()
        self.connection.execute("SET threads = 2")
        for statement in queries.statements(HERE / "duckdb/tables.sql", DATA=folder):
            self.connection.execute(statement)
        self.connection.execute("CREATE TABLE watermark_then AS FROM watermark")

    def rows(self, query, all_windows):
        """With `all_windows`, those too that the watermark has not closed."""
        then = "TIMESTAMP '9999-01-01'" if all_windows else "reached"
        self.connection.execute(f"CREATE OR REPLACE TABLE watermark AS SELECT topic, {then} AS reached FROM watermark_then")
        return self.connection.execute((HERE / "duckdb" / f"{query}.sql").read_text()).fetchall()

    def bids(self):
        return self.connection.execute("SELECT * FROM bid").fetchall()


class PluvioRows:
    """What a view holds after all events."""

    def __init__(self, folder, events):
        self.queue = Pluvio(folder, events)
        self.queue.start()

    def all_windows(self, query):
        return "EMIT ON WINDOW CLOSE" not in queries.pluvio(query)[1][0]

    def rows(self, query, wanted):
        try:
            self.queue.run(query, keep_all=True)
            select = SELECTED.get(query, f"SELECT * FROM {query}")
            if query in SELECTED:
                harness.until("the last windows close", lambda: counted(self.queue.server.sql(select)) == counted(wanted),
                              PROCESSING_TIME_SECONDS, pause=1)
            return self.queue.server.sql(select)
        finally:
            self.queue.drop(query)

    def stop(self):
        self.queue.stop()


class FlinkRows:
    """What a query of Flink's gives, its changes applied. Pluvio is the queue."""

    def __init__(self, folder, events, state):
        self.queue = Pluvio(folder / "pluvio", events)
        self.queue.start()
        self.flink = Flink(folder / "flink", self.queue.server.kafka, state, heap="2g")
        self.flink.start()

    def all_windows(self, _):
        return True

    def rows(self, query, _):
        if query in queries.NOT_IN_FLINK:
            raise Refused(queries.NOT_IN_FLINK[query])
        if query in NOT_TOLD_BY_FLINK:
            raise Refused("its last window of processing time is not told at the end of the input")
        return self.flink.rows(query)

    def stop(self):
        self.flink.stop()
        self.queue.stop()


def difference(query, found, wanted, oracle):
    """What is wrong with the rows; nothing if they are right."""
    if query in OPEN_TIES:
        stray = counted(row[:-1] for row in found) - counted(oracle.bids())
        if stray:
            return f"{sum(stray.values())} rows are of no bid, such as {next(iter(stray))}"
        keep = OPEN_TIES[query]
        found, wanted = ([tuple(row[i] for i in keep) for row in rows] for rows in (found, wanted))
    ours, theirs = counted(found), counted(wanted)
    more, fewer = ours - theirs, theirs - ours
    if not more and not fewer:
        return None
    return (f"{sum(ours.values())} rows, DuckDB {sum(theirs.values())}: {sum(more.values())} too many, such as "
            f"{next(iter(more), None)}; {sum(fewer.values())} missing, such as {next(iter(fewer), None)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", help="comma-separated (default: all)")
    parser.add_argument("--engine", choices=["pluvio", "flink"], default="pluvio")
    parser.add_argument("--state", choices=list(STATES), default="hash")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=1_000, help="events in a second of event time")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pluvio", type=pathlib.Path, default=None, help="the binary (default: the release build)")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "nexmark")
    args = parser.parse_args()
    os.environ["PLUVIO_BIN"] = str(args.pluvio or pluvio_binary())
    events = Events(args.data, args.events, args.rate, args.partitions, args.seed)
    oracle = Oracle(events.folder)
    wrong = refused = 0
    with tempfile.TemporaryDirectory(prefix="pluvio-nexmark-") as name:
        folder = pathlib.Path(name)
        engine = PluvioRows(folder, events) if args.engine == "pluvio" else FlinkRows(folder, events, args.state)
        try:
            for query in queries.chosen(args.queries):
                try:
                    wanted = oracle.rows(query, engine.all_windows(query))
                    found = engine.rows(query, wanted)
                    if args.engine == "flink":
                        wanted = [whole_averages(query, row) for row in wanted]
                    problem = difference(query, found, wanted, oracle)
                    wrong += problem is not None
                    print(f"{query:4} {'WRONG: ' + problem if problem else f'the same {len(found):,} rows'}", flush=True)
                except (Refused, AssertionError) as error:
                    refused += 1
                    print(f"{query:4} not compared: {error}", flush=True)
        finally:
            engine.stop()
    print(f"{wrong} wrong, {refused} not compared")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
