"""Jobs that share a machine: how fast a quiet job stays while others work off a backlog, and how evenly these get on.

    python bench/shares/run.py [--events 6000000] [--storms 3] [--record]

A quiet job counts 1,000 events a second. First it is alone. Then views are made over a topic that has been filled, each a
graph by itself, and read it from its beginning as fast as they can, all at once. Told is the time from the append of a
quiet event to the commit that shows it (of the newest epochs, in whole milliseconds, as in pluvio.jobs), the most that was
seen in any sample, and how far apart the backlogs' jobs were when the first of them was half done. At the end all counts
are compared with what was sent.
"""

import pathlib
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]
import runs  # noqa: E402
import numpy  # noqa: E402
from load import Field, Json, Sender, digits  # noqa: E402

WHAT = "milliseconds from append to commit of a quiet job, alone and beside jobs that work off a backlog"
PARTITIONS = 4
QUIET_EVERY_SECONDS, QUIET_EVENTS = 0.01, 10
ALONE_SECONDS, SAMPLE_SECONDS = 6, 0.25
KEYS = 100_000
EVENT = Json('{"k":', Field("k", 6), ',"v":', Field("v", 4), "}")


def arguments():
    parser = runs.parser(__doc__, "shares")
    parser.add_argument("--events", type=int, default=6_000_000, help="of the backlog")
    parser.add_argument("--storms", type=int, default=3, help="jobs that work it off")
    return runs.parsed(parser)


def drawn(count):
    index = numpy.arange(count)
    return {"k": digits(index * 7_919 % KEYS, 6), "v": digits(index % 1_000, 4)}


def trickle(address, stop, sent):
    """Sends quiet events until told to stop."""
    with Sender(address, "quiet", 1) as sender:
        due = time.monotonic()
        while not stop.is_set():
            sender.send(0, EVENT.encode(drawn(QUIET_EVENTS)))
            sent[0] += QUIET_EVENTS
            due += QUIET_EVERY_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))


def jobs(server):
    rows = server.sql("SELECT name, latency_ms_p50, latency_ms_p99, done_percent FROM pluvio.jobs")
    return {name: (p50, p99, done) for name, p50, p99, done in rows}


def measure(args, wrong):
    storms = [f"storm_{i}" for i in range(args.storms)]
    stop, sent = threading.Event(), [0]
    with runs.platform("shares") as server:
        for name, partitions in (("quiet", 1), ("backlog", PARTITIONS)):
            server.sql(f"CREATE STREAM {name} (k BIGINT, v BIGINT) WITH (partitions = '{partitions}')")
        size = EVENT.records_max()
        with Sender(server.kafka, "backlog", PARTITIONS, -1) as sender:
            for turn, first in enumerate(range(0, args.events, size)):
                sender.send(turn % PARTITIONS, EVENT.encode(drawn(min(size, args.events - first))))
        server.sql("CREATE MATERIALIZED VIEW counted AS SELECT k, count(*) AS n FROM quiet GROUP BY k")
        feeder = threading.Thread(target=trickle, args=(server.kafka, stop, sent))
        feeder.start()
        time.sleep(ALONE_SECONDS)
        alone = jobs(server)["counted"][:2]
        started, samples, spread = time.monotonic(), [], None
        with server.connect() as connection:
            for name in storms:
                connection.execute(f"CREATE MATERIALIZED VIEW {name} AS SELECT k, count(*) AS n, count(DISTINCT v) AS vs, "
                                   "avg(v) AS mean FROM backlog GROUP BY k")
        while True:
            now = jobs(server)
            done = [now[name][2] for name in storms]
            if min(done) >= 100:
                break
            if spread is None and max(done) >= 50:
                spread = [round(percent, 1) for percent in done]
            samples.append(now["counted"][:2])
            time.sleep(SAMPLE_SECONDS)
        seconds = time.monotonic() - started
        stop.set()
        feeder.join()
        server.sql("FLUSH")
        problem = runs.unwell(server)
        for name, expected in (("counted", sent[0]), *((name, args.events) for name in storms)):
            found = int(server.sql(f"SELECT sum(n) FROM {name}")[0][0])
            if found != expected:
                problem = problem or f"{name} counts {found}, not {expected}"
        memory = runs.memory_mb(server)
    if problem:
        wrong.append(problem)
    p50s, p99s = ([sample[i] for sample in samples if sample[i] is not None] for i in (0, 1))
    return {"events": args.events, "storms": args.storms, "quiet_events_per_second": round(QUIET_EVENTS / QUIET_EVERY_SECONDS),
            "alone_ms": {"p50": alone[0], "p99": alone[1]},
            "beside_ms": {"p50": float(numpy.median(p50s)), "p99": float(numpy.median(p99s)), "p99_max": max(p99s)},
            "samples": len(samples), "backlog_seconds": round(seconds, 2),
            "backlog_events_per_second": round(args.events * args.storms / seconds),
            "done_percent_when_the_first_was_half_done": spread, **memory}


def main():
    args = arguments()
    wrong = []
    body = measure(args, wrong)
    runs.table([("what", "quiet job"), ("p50", "p50 ms"), ("p99", "p99 ms"), ("p99_max", "p99 ms, at most")],
               [{"what": "alone", "p99_max": None, **body["alone_ms"]}, {"what": "beside", **body["beside_ms"]}])
    print(f"backlogs: {body['backlog_seconds']} s, done when the first was half done: "
          f"{body['done_percent_when_the_first_was_half_done']} %")
    runs.finish(args, "shares", WHAT, body, wrong)


if __name__ == "__main__":
    main()
