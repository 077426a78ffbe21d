"""A view with more keys than its memory holds: filling it, its rows, its memory, and how soon it is back after an end.

    python bench/state/run.py [--keys 50000000] [--tables-bytes '1 GiB'] [--restarts stop,kill] [--record]

A view counts events by key, and every key comes once, in no order. When all are in, the rows are counted, some are looked
up by key, and events of keys drawn evenly change some that memory has let go. Then the process ends, by a controlled stop
or by kill -9, and begins again: the clock runs from the start of the process to the first answer by key, and to the first
answer that counts an event sent since. The keys are few bytes each; --keys 1000000 is a quick trial.
"""

import pathlib
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]
import runs  # noqa: E402
import harness  # noqa: E402
import numpy  # noqa: E402
import psycopg  # noqa: E402
from load import Field, Json, Sender, digits  # noqa: E402

WHAT = "a count for each of many keys under a memory budget: time, memory, and the first answers after a restart"
AIMS = {"restart_seconds_max": 5}
PARTITIONS = 4
LAYOUT = Json('{"k":', Field("k", 10), "}")
VIEW = "CREATE MATERIALIZED VIEW counted AS SELECT k, count(*) AS n FROM events GROUP BY k"
ROW = "SELECT n FROM counted WHERE k = {}"
LOOK_SECONDS = 0.5
STEP = 7_368_787
ANSWER_SECONDS_MAX, STOP_SECONDS_MAX = 300, 900
PARTS = 10


def arguments():
    parser = runs.parser(__doc__, "state")
    parser.add_argument("--keys", type=int, default=50_000_000)
    parser.add_argument("--tables-bytes", default="1 GiB", help="memory_tables_bytes: the budget of all tables' rows")
    parser.add_argument("--updates", type=int, default=1_000_000, help="events of keys that are there already")
    parser.add_argument("--samples", type=int, default=500, help="keys that are looked up")
    parser.add_argument("--restarts", default="stop,kill", help="how the process ends, comma-separated: stop, kill")
    parser.add_argument("--minutes-max", type=float, default=20, help="for filling the view")
    return runs.parsed(parser)


def produce(server, count, keys_of, acks=-1):
    size = LAYOUT.records_max()
    with Sender(server.kafka, "events", PARTITIONS, acks) as sender:
        for turn, first in enumerate(range(0, count, size)):
            keys = keys_of(numpy.arange(first, min(first + size, count)))
            sender.send(turn % PARTITIONS, LAYOUT.encode({"k": digits(keys, 10)}))


def fill(server, args):
    """Makes the view and waits until it has every event; how that went, in parts of its way, and what stopped it."""
    way, largest, disk, seen, error = [], 0.0, 0.0, 0, None
    deadline = time.monotonic() + 60 * args.minutes_max
    with runs.Spent(server) as spent:
        server.sql(VIEW)
        with server.connect() as connection:
            while seen < args.keys and not error:
                time.sleep(LOOK_SECONDS)
                seen, error = connection.execute("SELECT rows_in, error FROM pluvio.jobs WHERE name = 'counted'").fetchone()
                memory, seconds = runs.memory_mb(server), time.monotonic() - spent.began
                largest = max(largest, memory["anonymous_mb"])
                if time.monotonic() > deadline and seen < args.keys:
                    error = error or f"took longer than {args.minutes_max} minutes"
                if error or seen * PARTS // args.keys > len(way):
                    disk = max(disk, runs.folder_mb(server.data))
                    way.append({"share": round(seen / args.keys, 3), "seconds": round(seconds, 1), **memory,
                                "tables_mb": round(runs.metric(server, "tables_bytes") / 2**20, 1), "disk_mb": disk})
                    print(f"{seen:>12,} of {args.keys:,} after {seconds:6.1f} s  {memory['rss_mb']:7.0f} MiB resident",
                          flush=True)
    return {"error": error, "seconds": spent.seconds, "cpu_seconds": spent.cpu_seconds,
            "keys_per_second": round(seen / spent.seconds), "us_per_key": round(1e6 * spent.cpu_seconds / max(seen, 1), 3),
            "anonymous_mb_max": largest, "disk_mb_max": disk, "way": way, **runs.memory_mb(server)}


def timed(server, query):
    began = time.monotonic()
    rows = server.sql(query)
    return rows, round(time.monotonic() - began, 3)


def look_up(server, counts, keys):
    """Compares rows by key; what each question takes, and what is wrong."""
    took, wrong = [], 0
    with server.connect() as connection:
        for key in keys.tolist():
            began = time.monotonic()
            row = connection.execute(ROW.format(key)).fetchone()
            took.append(1000 * (time.monotonic() - began))
            wrong += row != (int(counts[key]),)
    return runs.quantiles(took), wrong


def update(server, args, counts, random):
    """Counts events of keys that are there."""
    def drawn(index):
        chosen = random.integers(0, args.keys, len(index))
        numpy.add.at(counts, chosen, 1)
        return chosen

    with runs.Spent(server) as spent:
        produce(server, args.updates, drawn, acks=1)
        server.sql("FLUSH")
    return {"events": args.updates, "seconds": spent.seconds, "us_per_event": round(1e6 * spent.cpu_seconds / args.updates, 3),
            "events_per_second": round(args.updates / spent.seconds)}


def send_when_open(server, key, failed):
    """Sends one event as soon as the Kafka door takes it."""
    def attempt():
        with Sender(server.kafka, "events", PARTITIONS, acks=-1) as sender:
            sender.send(0, LAYOUT.encode({"k": digits([key], 10)}))
        return True

    try:
        harness.until("the Kafka door takes an event", attempt, ANSWER_SECONDS_MAX, pause=0.01)
    except Exception as error:  # noqa: BLE001 - told by the caller
        failed.append(error)


def restart(server, how, args, counts, random):
    """Ends and starts the process; seconds from its start to the answers."""
    key, known = (int(key) for key in random.integers(0, args.keys, 2))
    began = time.monotonic()
    server.kill() if how == "kill" else server.stop(STOP_SECONDS_MAX)
    ending = round(time.monotonic() - began, 2)
    began = time.monotonic()
    server.start(wait=False)
    failed, found = [], {}
    sender = threading.Thread(target=send_when_open, args=(server, key, failed), daemon=True)
    sender.start()

    def answered(key):
        try:
            return server.sql(ROW.format(key))[0][0]
        except psycopg.Error:
            return None  # not there yet

    first = harness.until("the view answers", lambda: answered(known), ANSWER_SECONDS_MAX, pause=0.005)
    found["first_answer_seconds"] = round(time.monotonic() - began, 3)
    counts[key] += 1
    harness.until("the new event is counted", lambda: failed or (answered(key) or 0) >= counts[key], ANSWER_SECONDS_MAX, 0.005)
    found["first_count_seconds"] = round(time.monotonic() - began, 3)
    sender.join(ANSWER_SECONDS_MAX)
    if failed:
        raise failed[0]
    reached = found["first_count_seconds"] <= AIMS["restart_seconds_max"]
    return {"how": how, "ending_seconds": ending, **found, "reached": reached,
            "right": bool(first == counts[known] or key == known), **runs.memory_mb(server)}


def after_filling(server, args, body, wrong):
    """The rows, changes of some, and the restarts."""
    random, counts = numpy.random.default_rng(1), numpy.ones(args.keys, dtype=numpy.int32)
    rows, body["count_seconds"] = timed(server, "SELECT count(*), sum(n) FROM counted")
    if tuple(map(int, rows[0])) != (args.keys, args.keys):
        wrong.append(f"{rows[0]} rows and events")
    body["lookup_ms"], mistakes = look_up(server, counts, random.integers(0, args.keys, args.samples))
    body["update"] = update(server, args, counts, random)
    changed = numpy.flatnonzero(counts > 1)
    mistakes += look_up(server, counts, random.choice(changed, min(args.samples, len(changed)), replace=False))[1]
    if mistakes:
        wrong.append(f"{mistakes} rows of {2 * args.samples} looked up")
    body["memory"] = runs.memory_mb(server)
    if problem := runs.unwell(server):
        wrong.append(problem)
    body["restarts"] = [restart(server, how, args, counts, random) for how in args.restarts.split(",") if how]
    wrong += [f"after {each['how']}: a wrong row" for each in body["restarts"] if not each["right"]]
    total = server.sql("SELECT count(*), sum(n) FROM counted")[0]
    if tuple(map(int, total)) != (args.keys, int(counts.sum(dtype=numpy.int64))):
        wrong.append(f"in the end {total}, not {args.keys, int(counts.sum(dtype=numpy.int64))}")


def main():
    args = arguments()
    wrong = []
    if args.keys % STEP == 0:
        sys.exit(f"--keys must not be a multiple of {STEP:,}")
    with runs.platform("state", *runs.options(memory_tables_bytes=args.tables_bytes)) as server:
        server.sql(f"CREATE STREAM events (k BIGINT NOT NULL) WITH (partitions = '{PARTITIONS}')")
        began = time.monotonic()
        produce(server, args.keys, lambda index: (index * STEP) % args.keys)
        print(f"{args.keys:,} events in the topic after {time.monotonic() - began:.1f} s", flush=True)
        body = {"keys": args.keys, "tables_bytes": args.tables_bytes, "aims": AIMS, "fill": fill(server, args)}
        if body["fill"]["error"]:
            wrong.append(f"filling: {body['fill']['error']}")
        else:
            after_filling(server, args, body, wrong)
            show(body)
    runs.finish(args, "state", WHAT, body, wrong)


def show(body):
    print(f"\n{body['keys']:,} keys, tables' budget {body['tables_bytes']}")
    runs.table([("keys_per_second", "keys/s"), ("us_per_key", "CPU us/key"), ("rss_mb_max", "MiB at most"),
                ("anonymous_mb_max", "not of files"), ("disk_mb_max", "disk MiB"), ("count", "count(*) s"),
                ("lookup", "by key, p99 ms"), ("update", "updates/s")],
               [{**body["fill"], "rss_mb_max": body["memory"]["rss_mb_max"], "count": body["count_seconds"],
                 "lookup": body["lookup_ms"]["p99"], "update": body["update"]["events_per_second"]}])
    print()
    runs.table([("how", "restart after"), ("ending_seconds", "ending s"), ("first_answer_seconds", "first answer s"),
                ("first_count_seconds", "first new count s"), ("rss_mb_max", "MiB at most")], body["restarts"])


if __name__ == "__main__":
    main()
