"""How the engine's cost per event grows: with the keys that a view keeps, and with the views on one topic.

    python bench/growth/engine.py [--keys 1000,100000,10000000] [--events 5000000] [--views 1,10,50] [--record]

Processor microseconds of the whole process for an event:

  keys   a view counts events by key. First every key is seen once, from the topic, which fills the view; then events of
         keys drawn evenly come in as fast as they can, and those are measured, with what the door spends on taking them.
  views  that many views on one topic, each with a filter and a key of its own and none reading another, so that each is
         a graph by itself; an event is counted once however many views take it.
"""

import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]
import runs  # noqa: E402
import numpy  # noqa: E402
from load import Field, Json, Sender, digits  # noqa: E402

WHAT = "processor microseconds an event, by the keys that a view keeps and by the views on a topic"
PARTITIONS = 4
KEYED = Json('{"k":', Field("k", 10), ',"v":', Field("v", 4), "}")
SALES = Json('{"shop":', Field("shop", 4), ',"product":', Field("product", 6), ',"amount":', Field("amount", 5),
             ',"clerk":', Field("clerk", 4), "}")
SHOPS, PRODUCTS, CLERKS = 100, 1_000, 1_000
AT_REST_SECONDS = 3
# Below this many events the processor's clock is too coarse.
FILL_EVENTS_MIN = 100_000
EXPLANATION = {
    "keys": "One epoch groups its events first, so with few keys an event costs the decoding and the hashing, and a key is "
            "changed once an epoch however often it comes. With more keys than events in an epoch nearly every event "
            "changes a row of its own: it is looked up outside the processor's caches, written to the journal and later "
            "to the keyed store. `changed_rows_per_event` says how many that are; `tables_mb` whether they fit the budget.",
    "views": "Views that do not read each other are graphs with a thread each, and a graph reads and decodes the topic for "
             "itself: what is shared is the log's memory, not the decoding. So the cost of an event grows by one decoding "
             "with each view, and each graph commits epochs of its own.",
}


def arguments():
    parser = runs.parser(__doc__, "growth-engine")
    parser.add_argument("--keys", default="1000,100000,10000000", help="numbers of keys, comma-separated; none: ''")
    parser.add_argument("--events", type=int, default=5_000_000, help="that are measured with each number of keys")
    parser.add_argument("--views", default="1,10,50", help="numbers of views, comma-separated; none: ''")
    parser.add_argument("--view-events", type=int, default=500_000, help="that are measured with each number of views")
    parser.add_argument("--tables-bytes", default="4 GiB", help="memory_tables_bytes, for the rows of all keys")
    parser.add_argument("--explanation", action="append", metavar="KEYS_OR_VIEWS=TEXT", default=[],
                        help="what is recorded as the reason instead of the program's own words")
    return runs.parsed(parser)


def numbers(words):
    return [int(word) for word in words.split(",") if word]


def produce(server, topic, layout, count, values, acks=1):
    """Sends `count` events whose values are what `values(index)` gives."""
    size = layout.records_max()
    with Sender(server.kafka, topic, PARTITIONS, acks) as sender:
        for turn, first in enumerate(range(0, count, size)):
            sender.send(turn % PARTITIONS, layout.encode(values(numpy.arange(first, min(first + size, count)))))


# Keys

def scattered(index, keys):
    """Every key once, in no order that a store would like: the step shares no factor with the number of keys."""
    return (index * 7_368_787) % keys


def with_keys(keys, args, wrong):
    random, counted = numpy.random.default_rng(1), numpy.ones(keys, dtype=numpy.int64)

    def drawn(index):
        chosen = random.integers(0, keys, len(index))
        numpy.add.at(counted, chosen, 1)
        return {"k": digits(chosen, 10), "v": digits(index % 1_000, 4)}

    with runs.platform("growth", *runs.options(memory_tables_bytes=args.tables_bytes)) as server:
        server.sql("CREATE STREAM events (k BIGINT, v BIGINT)")
        produce(server, "events", KEYED, keys,
                lambda index: {"k": digits(scattered(index, keys), 10), "v": digits(index % 1_000, 4)}, acks=-1)
        with runs.Spent(server) as filled:
            server.sql("CREATE MATERIALIZED VIEW counted AS SELECT k, count(*) AS n FROM events GROUP BY k")
            server.sql("FLUSH")
        before = {name: runs.metric(server, f"engine_{name}", "counted") for name in ("rows", "epochs")}
        with runs.Spent(server) as spent:
            produce(server, "events", KEYED, args.events, drawn)
            server.sql("FLUSH")
        changed, epochs = (runs.metric(server, f"engine_{name}", "counted") - before[name] for name in ("rows", "epochs"))
        step = {"keys": keys, "events": args.events, "us_per_event": round(1e6 * spent.cpu_seconds / args.events, 3),
                "events_per_second": round(args.events / spent.seconds),
                "fill_us_per_event": round(1e6 * filled.cpu_seconds / keys, 3) if keys >= FILL_EVENTS_MIN else None,
                "changed_rows_per_event": round(changed / args.events, 3), "events_per_epoch": round(args.events / epochs),
                "tables_mb": round(runs.metric(server, "tables_bytes") / 2**20, 1), "disk_mb": runs.folder_mb(server.folder),
                **runs.memory_mb(server)}
        found = server.sql("SELECT count(*), sum(n), max(n), sum(n * (k % 1009)) FROM counted")[0]
        expected = (keys, int(counted.sum()), int(counted.max()), int((counted * (numpy.arange(keys) % 1009)).sum()))
        problem = runs.unwell(server) or (f"{found}, not {expected}" if tuple(map(int, found)) != expected else "")
    if problem:
        wrong.append(f"{keys} keys: {problem}")
    return step


# Views

def view(number):
    """A view as one of many users would make it: a filter and a key of its own."""
    key = ("product", "clerk", "shop")[number % 3]
    return (f"CREATE MATERIALIZED VIEW view_{number} AS SELECT {key}, count(*) AS sales, sum(amount) AS total FROM sales "
            f"WHERE shop % {number % 7 + 2} = 0 GROUP BY {key}")


def with_views(views, args, wrong):
    random, totals = numpy.random.default_rng(1), numpy.zeros((SHOPS, 2), dtype=numpy.int64)

    def drawn(index):
        shop, amount = random.integers(0, SHOPS, len(index)), random.integers(0, 99_999, len(index))
        numpy.add.at(totals, shop, numpy.stack([numpy.ones_like(amount), amount], axis=1))
        return {"shop": digits(shop, 4), "product": digits(random.integers(0, PRODUCTS, len(index)), 6),
                "amount": digits(amount, 5), "clerk": digits(random.integers(0, CLERKS, len(index)), 4)}

    with runs.platform("growth") as server:
        server.sql(f"CREATE STREAM sales (shop BIGINT, product BIGINT, amount BIGINT, clerk BIGINT) "
                   f"WITH (partitions = '{PARTITIONS}')")
        with server.connect() as connection:
            for number in range(views):
                connection.execute(view(number))
        with runs.Spent(server) as at_rest:
            time.sleep(AT_REST_SECONDS)
        with runs.Spent(server) as spent:
            produce(server, "sales", SALES, args.view_events, drawn)
            server.sql("FLUSH")
        step = {"views": views, "events": args.view_events,
                "us_per_event": round(1e6 * spent.cpu_seconds / args.view_events, 3),
                "us_per_event_and_view": round(1e6 * spent.cpu_seconds / args.view_events / views, 3),
                "events_per_second": round(args.view_events / spent.seconds),
                "cores_at_rest": round(at_rest.cpu_seconds / at_rest.seconds, 3), **runs.memory_mb(server)}
        graphs = len(set(row[0] for row in server.sql("SELECT graph FROM pluvio.jobs")))
        problem = runs.unwell(server)
        for number in range(views):
            found = server.sql(f"SELECT sum(sales), sum(total) FROM view_{number}")[0]
            expected = totals[::number % 7 + 2].sum(axis=0).tolist()
            if list(map(int, found)) != expected:
                problem = problem or f"view {number} has {found}, not {expected}"
    if problem:
        wrong.append(f"{views} views: {problem}")
    return {**step, "graphs": graphs}


def main():
    args = arguments()
    wrong, body = [], {"keys": [], "views": []}
    for what, wanted, measure in (("keys", args.keys, with_keys), ("views", args.views, with_views)):
        for count in numbers(wanted):
            body[what].append(measure(count, args, wrong))
            print(f"{count:,} {what}: {body[what][-1]['us_per_event']} us an event", flush=True)
    if body["keys"]:
        print("\nBy keys (processor microseconds)")
        runs.table([("keys", "keys"), ("us_per_event", "us/event"), ("fill_us_per_event", "us/event, filling"),
                    ("changed_rows_per_event", "rows changed/event"), ("events_per_epoch", "events/epoch"),
                    ("events_per_second", "events/s"), ("tables_mb", "tables MiB"), ("rss_mb_max", "MiB"),
                    ("disk_mb", "disk MiB")], body["keys"])
    if body["views"]:
        print("\nBy views (processor microseconds)")
        runs.table([("views", "views"), ("graphs", "graphs"), ("us_per_event", "us/event"),
                    ("us_per_event_and_view", "us/event/view"), ("events_per_second", "events/s"),
                    ("cores_at_rest", "cores at rest"), ("rss_mb_max", "MiB")], body["views"])
    said = dict(word.split("=", 1) for word in args.explanation)
    for what, steps in body.items():
        if steps:
            growth = round(steps[-1]["us_per_event"] / max(steps[0]["us_per_event"], 0.001), 2)
            body[what] = {"steps": steps, "last_to_first": growth, "explanation": said.get(what, EXPLANATION[what])}
    runs.finish(args, "growth-engine", WHAT, body, wrong)


if __name__ == "__main__":
    main()
