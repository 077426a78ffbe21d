"""The Yahoo Streaming Benchmark end to end: ad events in a topic, views counted by campaign and 10 seconds, in SQL's reach.

    python bench/ysb/run.py [--events 10000000] [--rate 100000 --seconds 30] [--only pluvio|flink|sustained] [--record]

An event is JSON; those of type 'view' are projected, their ad's campaign is looked up in a real-time table, and a table
by campaign and window of event time counts them. Two measurements:

  catch-up   the events are in the topic; how many a processor second and a second take from the statement that makes the
             view until all are in it. Flink's SQL reads the same topic from the same queue, one job after another.
  sustained  events come at a rate with the time at which they are sent. Seen from outside, by a client that asks again
             and again: from an event's time to its count, and from a window's end to its last count.

Every result is compared with what the generator counted, Flink's too (once, in a run before those that are measured).
"""

import datetime
import multiprocessing
import pathlib
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "nexmark")]
import runs  # noqa: E402
import numpy  # noqa: E402
from engines import STATES, Flink, Refused  # noqa: E402
from ads import CAMPAIGNS, TOPIC, WINDOW_MS, Ads  # noqa: E402
from load import Sender  # noqa: E402

WHAT = "Yahoo Streaming Benchmark: JSON ad events, filter, lookup of the campaign, count by campaign and 10 s of event time"
BEGIN_MS = 1_767_225_600_000
TICK_MS = 5
SETTLE_SECONDS = 2
STREAM = f"""CREATE STREAM ad_events (
    user_id VARCHAR, page_id VARCHAR, ad_id VARCHAR, ad_type VARCHAR, event_type VARCHAR, event_time TIMESTAMP NOT NULL,
    ip_address VARCHAR, WATERMARK FOR event_time AS event_time - INTERVAL '1' SECOND
) WITH (topic = '{TOPIC}', format = 'json')"""
TABLE = "CREATE TABLE ads (ad_id VARCHAR PRIMARY KEY, campaign_id VARCHAR)"
VIEW = """CREATE MATERIALIZED VIEW ysb {options} AS
SELECT a.campaign_id, e.window_start, count(*) AS view_count {more}
FROM TABLE(TUMBLE(TABLE ad_events, DESCRIPTOR(event_time), INTERVAL '10' SECOND)) AS e
JOIN ads AS a ON a.ad_id = e.ad_id
WHERE e.event_type = 'view'
GROUP BY a.campaign_id, e.window_start"""


SEEN = "SELECT window_start, sum(view_count), max(newest) FROM ysb GROUP BY window_start"


def arguments():
    parser = runs.parser(__doc__, "ysb")
    parser.add_argument("--events", type=int, default=10_000_000, help="of the catch-up")
    parser.add_argument("--event-rate", type=int, default=100_000, help="events in a second of event time, catch-up")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--warm-ups", type=int, default=1, help="runs of Flink's after the checked one that do not count")
    parser.add_argument("--state", choices=list(STATES), default="hash", help="where Flink keeps state")
    parser.add_argument("--heap", default="4g", help="of Flink's Java")
    parser.add_argument("--rate", type=int, default=100_000, help="events a second, sustained")
    parser.add_argument("--seconds", type=int, default=30, help="of the sustained rate")
    parser.add_argument("--triggers", default="200 ms,10 ms", help="of the view, one sustained measurement each")
    parser.add_argument("--poll-ms", type=int, default=5, help="pause between two questions of the client that watches")
    parser.add_argument("--only", choices=["pluvio", "flink", "catch-up", "sustained"])
    return runs.parsed(parser)


def prepare(server, ads):
    with server.connect() as connection:
        connection.execute(STREAM)
        connection.execute(TABLE)
        rows = ", ".join(f"('{ad}', '{campaign}')" for ad, campaign in ads.campaign_of())
        connection.execute(f"INSERT INTO ads VALUES {rows}")


def difference(found, expected):
    """What is wrong with rows of (campaign, window's start in ms, views); nothing if they are right."""
    found = {(campaign, start): views for campaign, start, views in found}
    wrong = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
    if not wrong:
        return None
    return f"{len(wrong)} of {len(expected)} counts, such as {wrong[0]}: {found.get(wrong[0])}, not {expected.get(wrong[0])}"


def rows_of(server):
    rows = server.sql("SELECT campaign_id, window_start, view_count FROM ysb")
    return [(campaign, as_ms(start), views) for campaign, start, views in rows]


def as_ms(moment):
    """A time of a row in milliseconds since 1970."""
    return round((moment - datetime.datetime(1970, 1, 1)).total_seconds() * 1000)


# Catch-up

def preload(server, ads, args):
    """Fills the topic, event times growing by the rate; the seconds it took."""
    began = time.monotonic()
    size = 4_000
    with Sender(server.kafka, TOPIC, args.partitions) as sender:
        for turn, first in enumerate(range(0, args.events, size)):
            index = numpy.arange(first, min(first + size, args.events))
            sender.send(turn % args.partitions, ads.batch(BEGIN_MS + index * 1000 // args.event_rate))
    return round(time.monotonic() - began, 1)


def run_pluvio(server, events, expected):
    """One run in a process without a past."""
    server.restart()
    with runs.Spent(server) as spent, server.connect() as connection:
        connection.execute(VIEW.format(options="", more=""))
        connection.execute("FLUSH")
    problem = difference(rows_of(server), expected) or runs.unwell(server)
    found = figures(events, spent.seconds, spent.cpu_seconds, runs.memory_mb(server)["rss_mb_max"])
    server.sql("DROP MATERIALIZED VIEW ysb")
    return {**found, "error": problem} if problem else found


def run_flink(flink, events):
    try:
        found = flink.run("ysb")
    except Refused as error:
        return {"error": str(error)}
    if found["events"] != events:
        return {"error": f"took in {found['events']:,} of {events:,} events"}
    return {**figures(events, found["seconds"], found["cpu_seconds"], found["rss_mb"]),
            "planning_cpu_seconds": found["planning_cpu_seconds"]}


def runs_of_flink(flink, ads, expected, args):
    """The runs that count; the only one is an error if Flink's rows are not right."""
    if problem := start_flink(flink, ads, expected):
        return [{"error": problem}]
    results = []
    for turn in range(-args.warm_ups, args.runs):
        results.append(run_flink(flink, args.events))
        told("flink" if turn >= 0 else "(warm)", results[-1])
    return results[args.warm_ups:]


def figures(events, seconds, cpu, rss_mb):
    return {"seconds": round(seconds, 3), "cpu_seconds": round(cpu, 3), "rss_mb": rss_mb,
            "events_per_cpu_second": round(events / max(cpu, 0.01)), "events_per_second": round(events / seconds)}


def start_flink(flink, ads, expected):
    """Starts it and compares its rows; what is wrong with them."""
    flink.start()
    (flink.folder / "ads.csv").write_text("".join(f"{ad},{campaign}\n" for ad, campaign in ads.campaign_of()))
    try:
        rows = [(campaign, milliseconds(start), int(views)) for campaign, start, views in flink.rows("ysb")]
    except Refused as error:
        return str(error)
    return difference(rows, expected)


def milliseconds(iso):
    return int(numpy.datetime64(iso, "ms").astype(numpy.int64))


def medians(results):
    good = [result for result in results if "error" not in result]
    return {name: round(statistics.median(r[name] for r in good), 3) for name in good[0]} if good else None


def catch_up(args, wrong):
    names = ["pluvio", "flink"] if args.only in (None, "catch-up") else [args.only]
    results = {name: [] for name in names}
    ads = Ads()
    with runs.platform("ysb") as server:
        prepare(server, ads)
        seconds = preload(server, ads, args)
        print(f"{args.events:,} events in the topic after {seconds} s", flush=True)
        expected = ads.expected()
        flink = Flink(server.folder / "flink", server.kafka, args.state, args.heap, HERE / "flink")
        try:
            for _ in range(args.runs if "pluvio" in names else 0):
                results["pluvio"].append(run_pluvio(server, args.events, expected))
                told("pluvio", results["pluvio"][-1])
            if "flink" in names:
                server.restart()
                results["flink"] = runs_of_flink(flink, ads, expected, args)
        finally:
            flink.stop()
    wrong += [f"{name}: {run['error']}" for name, found in results.items() for run in found if "error" in run]
    return summary(args, results)


def told(name, found):
    print(f"{name:8} {found.get('error') or ''}"
          + ("" if "error" in found else f"{found['events_per_cpu_second']:>10,} events per CPU second, {found['seconds']} s"),
          flush=True)


def summary(args, results):
    found = {name: medians(each) for name, each in results.items()}
    part = {"events": args.events, "partitions": args.partitions, "median": found, "runs": results}
    if found.get("pluvio") and found.get("flink"):
        part["times_flink_per_cpu_second"] = round(
            found["pluvio"]["events_per_cpu_second"] / found["flink"]["events_per_cpu_second"], 2)
        part["times_flink_per_second"] = round(found["pluvio"]["events_per_second"] / found["flink"]["events_per_second"], 2)
    if "flink" in results:
        part["flink"] = {"state": args.state, "heap": args.heap, "warm_ups": args.warm_ups + 1,
                         "lookup": "the ads' file in memory, looked up by a connector (flink/src/CsvLookup.java)"}
    print("\nCatch-up")
    runs.table([("name", ""), ("events_per_cpu_second", "events/CPU s"), ("events_per_second", "events/s"),
                ("cpu_seconds", "CPU s"), ("rss_mb", "MiB")],
               [{"name": name, **each} for name, each in found.items() if each])
    return part


# Sustained

def pace(address, rate, seconds, partitions, answer):
    """A process of its own: sends at the rate; answers with each tick's time, how late it was sent, and the counts."""
    ads = Ads()
    per_tick = rate * TICK_MS // 1000
    times, late = [], []
    with Sender(address, TOPIC, partitions, acks=1) as sender:
        begin = time.monotonic() + 0.1
        for tick in range(seconds * 1000 // TICK_MS):
            due = begin + tick * TICK_MS / 1000
            time.sleep(max(0.0, due - time.monotonic()))
            now_ms = time.time_ns() // 1_000_000
            late.append(1000 * (time.monotonic() - due))
            times.append(now_ms)
            sender.send(tick % partitions, ads.batch(numpy.full(per_tick, now_ms)))
    answer.put((times, late, ads.expected()))


def watch(server, until, pause):
    """Asks for the newest event and each window's views until told to end; what was seen when, and the questions' times."""
    seen, took = [], []
    with server.connect() as connection:
        while not until():
            asked = time.time()
            rows = connection.execute(SEEN).fetchall()
            answered = time.time()
            took.append(1000 * (answered - asked))
            if rows:
                newest = max(row[2] for row in rows)
                seen.append((1000 * answered, as_ms(newest), {as_ms(start): int(views) for start, views, _ in rows}))
            time.sleep(pause)
    return seen, took


def latencies(seen, times):
    """From each tick's time to the first answer with an event as new as that."""
    answered = numpy.array([each[0] for each in seen])
    newest = numpy.maximum.accumulate(numpy.array([each[1] for each in seen]))
    places = numpy.searchsorted(newest, numpy.array(times))
    return answered[places[places < len(answered)]] - numpy.array(times)[places < len(answered)]


def closings(seen, expected, last_ms):
    """For each window that ended while events came: from its end to the first answer with all its views."""
    totals = {}
    for (_, start), views in expected.items():
        totals[start] = totals.get(start, 0) + views
    whole = {start: next((at for at, _, counts in seen if counts.get(start) == views), None) for start, views in totals.items()}
    return [whole[start] - start - WINDOW_MS for start in totals if start + WINDOW_MS <= last_ms and whole[start]]


def sustained(args, trigger, wrong):
    """The paced events under one trigger."""
    ads = Ads()
    with runs.platform("ysb") as server:
        prepare(server, ads)
        server.sql(VIEW.format(options=f"WITH (trigger = '{trigger}')", more=", max(e.event_time) AS newest"))
        answer = multiprocessing.get_context("fork").Queue()
        producer = multiprocessing.get_context("fork").Process(
            target=pace, args=(server.kafka, args.rate, args.seconds, args.partitions, answer), daemon=True)
        done = []

        def ended():
            if not done and not producer.is_alive() and answer.empty():
                raise RuntimeError(f"the producer ended with {producer.exitcode}")
            if not done and not answer.empty():
                done.extend([answer.get(), time.monotonic() + SETTLE_SECONDS])
            return done and time.monotonic() > done[1]

        producer.start()
        try:
            with runs.Spent(server) as spent:
                seen, took = watch(server, ended, args.poll_ms / 1000)
        finally:
            producer.kill()
            producer.join()
        times, late, expected = done[0]
        job = server.sql("SELECT latency_ms_p50, latency_ms_p99, lag_events, rows_in FROM pluvio.jobs WHERE name = 'ysb'")[0]
        server.sql("FLUSH")
        problem = difference(rows_of(server), expected) or runs.unwell(server)
        memory = runs.memory_mb(server)
    if problem:
        wrong.append(f"sustained, {trigger}: {problem}")
    close = closings(seen, expected, times[-1])
    return {
        "trigger": trigger, "rate": args.rate, "events": len(times) * (args.rate * TICK_MS // 1000),
        "events_per_second": round((len(times) * (args.rate * TICK_MS // 1000)) / ((times[-1] - times[0] + TICK_MS) / 1000)),
        "seen_ms": runs.quantiles(latencies(seen, times)), "window_complete_ms": [round(each, 1) for each in close],
        "own_ms": {"p50": job[0], "p99": job[1]}, "question_ms": runs.quantiles(took), "questions": len(took),
        "sent_late_ms": runs.quantiles(late), "cpu_share": round(spent.cpu_seconds / spent.seconds, 3),
        "rss_mb_max": memory["rss_mb_max"], "exact": not problem,
    }


def show_sustained(found):
    print("\nSustained (milliseconds from an event's time to its count, seen from outside)")
    rows = [{**each, "p50": each["seen_ms"]["p50"], "p99": each["seen_ms"]["p99"], "own_p50": each["own_ms"]["p50"],
             "own_p99": each["own_ms"]["p99"], "asked": each["question_ms"]["p50"],
             "closed": max(each["window_complete_ms"], default=None)} for each in found]
    runs.table([("trigger", "trigger"), ("events_per_second", "events/s"), ("p50", "p50"), ("p99", "p99"),
                ("closed", "window whole, worst"), ("own_p50", "own p50"), ("own_p99", "own p99"),
                ("asked", "question p50"), ("cpu_share", "cores used"), ("exact", "exact")], rows)


def main():
    args = arguments()
    wrong, body = [], {"campaigns": CAMPAIGNS}
    if args.only != "sustained":
        body["catch_up"] = catch_up(args, wrong)
    if args.only in (None, "sustained"):
        body["sustained"] = [sustained(args, trigger.strip(), wrong) for trigger in args.triggers.split(",")]
        show_sustained(body["sustained"])
    runs.finish(args, "ysb", WHAT, body, wrong)


if __name__ == "__main__":
    main()
