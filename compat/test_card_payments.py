"""The card payments example with payments of our own, and `pluvio demo` at a small rate: what the README promises."""

import collections
import datetime
import json

from compare import same_ordered, same_rows
from harness import ROOT, Pluvio
from kafka_client import send_all

PEOPLE = {i: f"Person {i}" for i in range(10)}
SHOPS = {i: f"Shop {i}" for i in range(6)}


def made_up():
    """Six hundred payments over the last three whole minutes, in order: (person, company, amount, time)."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, second=0, microsecond=0)
    for i in range(600):
        at = now - datetime.timedelta(minutes=3) + datetime.timedelta(milliseconds=300 * i)
        # Every twentieth is large, ten in a minute, nine by persons 0, 1 and 2 in turn and each time elsewhere.
        if i % 20 == 0:
            turn = i // 20
            yield 7 if turn % 10 == 9 else turn % 3, turn * 5 % 7, 400 + i / 4, at
        else:
            yield i % 11, i % 7, i % 50 + 0.25, at


def test_the_pipeline_over_payments_of_our_own(platform):
    p = platform(pipeline=ROOT / "examples" / "card-payments" / "pipeline.sql")
    with p.connect() as connection:
        connection.cursor().executemany("INSERT INTO persons VALUES (%s, %s)", list(PEOPLE.items()))
        connection.cursor().executemany("INSERT INTO companies VALUES (%s, %s)", list(SHOPS.items()))
    payments = list(made_up())
    # One partition, because two seconds of order is all this pipeline waits for.
    send_all(p.kafka, "payments", [json.dumps({"person_id": a, "company_id": b, "amount": c, "paid_at": d.isoformat() + "Z", "note": "n" * 700}).encode()
                                   for a, b, c, d in payments], partition=0)
    p.wait_for("SELECT count(*) FROM lake.payments", len(payments), 60)
    same_rows("lake.payments", p.sql("SELECT person_id, person, company_id, company, amount, paid_at FROM lake.payments"),
              [(a, PEOPLE.get(a), b, SHOPS.get(b), c, d) for a, b, c, d in payments])

    live = collections.defaultdict(list)
    minutes = collections.defaultdict(list)
    large = collections.defaultdict(list)
    for a, b, c, d in payments:
        live[d.replace(second=d.second // 10 * 10, microsecond=0)].append(c)
        minutes[d.replace(second=0, microsecond=0), b, SHOPS.get(b)].append(c)
        if c >= 400:
            large[d.replace(second=0, microsecond=0), a, PEOPLE.get(a)].append((b, c))
    same_ordered("spend_live", p.sql("SELECT window_start, payments, total, largest FROM spend_live"),
                 [(w, len(v), sum(v), max(v)) for w, v in live.items()], 1)
    alerts = [(*k, len({b for b, _ in v}), sum(c for _, c in v)) for k, v in large.items() if len({b for b, _ in v}) >= 3]
    assert alerts, "the made-up payments should raise an alert"
    same_ordered("alerts", p.sql("SELECT window_start, person_id, person, companies, total FROM alerts"), alerts, 3)
    # The last minute stays open: nothing later has come.
    last = max(w for w, _, _ in minutes)
    closed = [(*k, len(v), sum(v)) for k, v in minutes.items() if k[0] != last]
    p.wait_for("SELECT count(*) FROM spend_per_minute", len(closed), 30)
    same_ordered("spend_per_minute", p.sql("SELECT window_start, company_id, company, payments, total FROM spend_per_minute"), closed, 3)


def test_demo_ends_with_figures_that_agree(platform, tmp_path):
    p = platform(start=False)
    done = p.cli("demo", "--rate", "5000", "--duration", "10s", "--data-dir", str(tmp_path / "demo"), "--json",
                 "--kafka-listen", p.kafka, "--postgres-listen", f"127.0.0.1:{p.postgres_port}",
                 "--http-listen", f"127.0.0.1:{p.http_port}", timeout=180)
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    print(figures)
    for name in ("events_in", "events_per_second", "rows_enriched", "lookups", "latency_ms_p50", "latency_ms_p99", "epochs",
                 "rss_mb_max", "dead_letters", "lake_rows"):
        assert name in figures, f"{name} is missing: {figures}"
    assert figures["events_in"] == figures["rows_enriched"] == figures["lake_rows"] > 0
    assert figures["lookups"] == 2 * figures["events_in"] and figures["dead_letters"] == 0
    assert 4_000 <= figures["events_per_second"] <= 6_000
    # The folder of the demo is an ordinary one.
    again = Pluvio(tmp_path / "again")
    again.data = tmp_path / "demo"
    again.start()
    try:
        assert again.one("SELECT count(*) FROM lake.payments") == figures["lake_rows"]
    finally:
        again.kill()
