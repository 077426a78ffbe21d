"""Latency at a modest rate: from the moment a client sends an event until a reader sees its row.

    python bench/latency/run.py [--rate 10000] [--seconds 30] [--trigger '1 ms'] [--views stateless,count,lookup] [--record]

JSON events of about 200 bytes come through the Kafka door at a fixed rate, a small batch every few milliseconds. One view
at a time is measured, each in a new platform: a filter and projection, a count per key, a lookup join with a table. After
a warm-up, first nobody asks anything and the platform's own figures are taken (pluvio.jobs and pluvio.epochs: from the
append, in whole milliseconds, to the commit that makes the rows visible); then a client over PostgreSQL's wire picks a
batch when it is sent, asks again and again until an answer has it, rests, and picks the next. Each has two bounds: the
first answer with it (`seen`), and when the last question was asked whose answer did not have it (`at_least`). What lies
between is the asking's own: a question takes a millisecond or more, and there is no door that pushes rows.

Every epoch is on the disk before a reader sees it: the events that it took are synced in the log, then its one journal
frame. The time that the disk needs for a small write is measured beside.
"""

import multiprocessing
import os
import pathlib
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]
import runs  # noqa: E402
import numpy  # noqa: E402
from load import Field, Json, Sender, digits, texts  # noqa: E402

WHAT = "milliseconds from sending an event to seeing its row, at a modest rate, every epoch on the disk"
AIMS_MS_P99 = {"stateless": 5, "count": 10, "lookup": 10}
DEVICES = 1_000
WARM_UP_SECONDS = 3
SEEN_SECONDS_MAX = 5
UNITS = ["celsius", "pascal", "volt", "ampere"]
LAYOUT = Json('{"seq":', Field("seq", 9), ',"device":', Field("device", 4), ',"value":', Field("value", 4), ',"unit":"',
              Field("unit", 7), '","place":"building 4, hall 17, row 112, rack 3, position 27","firmware":"4.19.2-rc1",'
              '"serial":"A7-99-41-08-F3-6C","state":"in service since the last inspection"}')
STREAM = """CREATE STREAM readings (seq BIGINT NOT NULL, device BIGINT NOT NULL, value BIGINT, unit VARCHAR, place VARCHAR)
WITH (topic = 'readings', format = 'json', partitions = '{partitions}')"""
# The device that each batch of the first partition ends with: its newest row tells how far a reader sees.
PROBE = 0
NEWEST = f"SELECT max(seq) FROM view WHERE device = {PROBE}"
BY_KEY = f"SELECT seq FROM view WHERE device = {PROBE}"
REST_MS = (5, 25)
VIEWS = {
    "stateless": ("SELECT seq, device, value * 9 / 5 + 32 AS fahrenheit FROM readings WHERE unit <> 'mile'", NEWEST),
    "count": ("SELECT device, count(*) AS events, max(seq) AS seq FROM readings GROUP BY device", BY_KEY),
    "lookup": ("SELECT r.seq, r.device, r.value, d.owner FROM readings AS r JOIN devices AS d ON d.id = r.device", NEWEST),
}
# Of views that only add rows, this much is kept, so that the question stays as quick as it can.
KEPT = "retention = '200 ms', "


def arguments():
    parser = runs.parser(__doc__, "latency")
    parser.add_argument("--rate", type=int, default=10_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=30, help="without, and then with the client that asks")
    parser.add_argument("--trigger", default="1 ms", help="of the view; 1 ms is the least")
    parser.add_argument("--tick-ms", type=int, default=2, help="between two batches")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--acks", type=int, choices=[1, -1], default=1, help="what the producer waits for; -1: the disk")
    parser.add_argument("--views", default=",".join(VIEWS), help="which, comma-separated")
    return runs.parsed(parser)


def pace(address, args, seconds, picked, stop, answer):
    """A process of its own: sends at the rate until told to stop. `picked` has the newest batch of the first partition,
    its last event and when it was sent; the answer is how late each batch was, and the events in all."""
    random = numpy.random.default_rng(1)
    units = texts(UNITS)
    per_tick, lanes, late = args.rate * args.tick_ms // 1000, args.partitions, []
    with Sender(address, "readings", lanes, args.acks) as sender:
        begin = time.monotonic() + 0.1
        for tick in range(seconds * 1000 // args.tick_ms):
            if stop.is_set():
                break
            due = begin + tick * args.tick_ms / 1000
            time.sleep(max(0.0, due - time.monotonic()))
            now, lane, first = time.monotonic(), tick % lanes, tick * per_tick
            late.append(1000 * (now - due))
            devices = random.integers(1, DEVICES // lanes, per_tick) * lanes + lane
            devices[-1] = PROBE if lane == 0 else devices[-1]
            batch = LAYOUT.encode({
                "seq": digits(numpy.arange(first, first + per_tick), 9), "device": digits(devices, 4),
                "value": digits(random.integers(0, 9_999, per_tick), 4),
                "unit": units[random.integers(0, len(UNITS), per_tick)]})
            if lane == 0:
                with picked:
                    picked[:] = [first + per_tick - 1, now]
            sender.send(lane, batch)
    answer.put((late, sender.sent))


def watch(server, question, picked, seconds):
    """Picks batches and waits for each; milliseconds until the first answer with it, the least it can have been, and
    what every question took."""
    random = numpy.random.default_rng(2)
    upper, lower, took = [], [], []
    end = time.monotonic() + seconds
    with server.connect() as connection:
        while time.monotonic() < end:
            (before, _), last = picked[:], None
            while last is None or last == before:
                time.sleep(0.0002)
                last, sent = picked[:]
            asked_before, seen = sent, -1
            while seen < last:
                if time.monotonic() > end + SEEN_SECONDS_MAX:
                    raise RuntimeError(f"event {last:.0f} was not seen")
                asked = time.monotonic()
                seen = connection.execute(question, prepare=True).fetchone()[0]
                answered = time.monotonic()
                took.append(1000 * (answered - asked))
                if seen < last:
                    asked_before = asked
            upper.append(1000 * (answered - sent))
            lower.append(1000 * (asked_before - sent))
            time.sleep(random.uniform(*REST_MS) / 1000)
    return upper, lower, took


def disk_ms():
    """Milliseconds that a write of 4 KiB and its sync take."""
    took = []
    with tempfile.TemporaryFile(dir=tempfile.gettempdir(), buffering=0) as file:
        for _ in range(300):
            file.write(bytes(4096))
            began = time.monotonic()
            os.fdatasync(file.fileno())
            took.append(1000 * (time.monotonic() - began))
    return runs.quantiles(took)


def own(server):
    """What the platform says of itself: latency of the newest events, and its newest epochs' time."""
    p50, p99 = server.sql("SELECT latency_ms_p50, latency_ms_p99 FROM pluvio.jobs WHERE name = 'view'")[0]
    epochs = server.sql("SELECT duration_ms, commit_ms, events FROM pluvio.epochs WHERE events > 0")
    durations, commits, events = numpy.array(epochs).T
    return {"latency_ms": {"p50": p50, "p99": p99}, "epoch_ms": runs.quantiles(durations), "commit_ms": runs.quantiles(commits),
            "events_per_epoch": round(float(events.mean()), 1)}


def measure(name, args, wrong):
    select, question = VIEWS[name]
    kept = KEPT if "count(" not in select else ""
    fork = multiprocessing.get_context("fork")
    picked, stop, answer = fork.Array("d", [-1, 0]), fork.Event(), fork.Queue()
    with runs.platform("latency") as server:
        with server.connect() as connection:
            connection.execute(STREAM.format(partitions=args.partitions))
            connection.execute("CREATE TABLE devices (id BIGINT PRIMARY KEY, owner VARCHAR)")
            connection.execute("INSERT INTO devices SELECT value, concat('owner ', value % 50) "
                               f"FROM generate_series(0, {DEVICES - 1})")
            connection.execute(f"CREATE MATERIALIZED VIEW view WITH ({kept}trigger = '{args.trigger}') AS {select}")
        seconds = WARM_UP_SECONDS + 2 * args.seconds
        producer = fork.Process(target=pace, args=(server.kafka, args, seconds + 5, picked, stop, answer), daemon=True)
        producer.start()
        try:
            time.sleep(WARM_UP_SECONDS)
            with runs.Spent(server) as spent:
                time.sleep(args.seconds)
            quiet = own(server)
            upper, lower, took = watch(server, question, picked, args.seconds)
            watched = own(server)
            stop.set()
            late, events = answer.get(timeout=30)
        finally:
            producer.kill()
            producer.join()
        server.sql("FLUSH")
        taken = server.one("SELECT rows_in FROM pluvio.jobs WHERE name = 'view'")
        problem = runs.unwell(server) or (f"{taken} events of {events}" if taken != events else "")
    if problem:
        wrong.append(f"{name}: {problem}")
    p99 = runs.quantiles(upper)["p99"]
    return {"view": name, "aim_ms_p99": AIMS_MS_P99[name], "reached": p99 <= AIMS_MS_P99[name],
            "seen_ms": runs.quantiles(upper), "at_least_ms": runs.quantiles(lower),
            "question_ms": runs.quantiles(took), "questions": len(took), "batches": len(upper),
            "own_unasked": quiet, "own_while_asked": watched, "cores_used_unasked": round(spent.cpu_seconds / spent.seconds, 3),
            "sent_late_ms": runs.quantiles(late), "events": events, "exact": not problem}


def main():
    args = arguments()
    wrong, disk, found = [], disk_ms(), []
    for name in args.views.split(","):
        found.append(measure(name, args, wrong))
        print(f"{name}: seen after {found[-1]['seen_ms']} ms", flush=True)
    print(f"\nMilliseconds at {args.rate:,} events/s, trigger {args.trigger}; a synced write of 4 KiB takes p50 {disk['p50']}, "
          f"p99 {disk['p99']}")
    runs.table([("view", "view"), ("p50", "seen p50"), ("p99", "seen p99"), ("aim", "aim p99"), ("least", "at least p99"),
                ("question", "question p50"), ("own50", "own p50"), ("own99", "own p99"), ("commit", "commit p50"),
                ("cores", "cores used")],
               [{"view": each["view"], **{q: each["seen_ms"][q] for q in ("p50", "p99")}, "aim": each["aim_ms_p99"],
                 "least": each["at_least_ms"]["p99"], "question": each["question_ms"]["p50"],
                 "own50": each["own_unasked"]["latency_ms"]["p50"], "own99": each["own_unasked"]["latency_ms"]["p99"],
                 "commit": each["own_unasked"]["commit_ms"]["p50"], "cores": each["cores_used_unasked"]} for each in found])
    durable = "the log synced to the cut, then one journal frame synced, before a reader sees the epoch"
    runs.finish(args, "latency", WHAT, {
        "rate": args.rate, "trigger": args.trigger, "tick_ms": args.tick_ms, "partitions": args.partitions, "acks": args.acks,
        "devices": DEVICES, "event_bytes": LAYOUT.width, "epochs_are_durable": durable, "synced_write_ms": disk,
        "views": found}, wrong)


if __name__ == "__main__":
    main()
