"""kill -9 of the whole process, again and again, while an outside client produces: nothing is lost, nothing is counted twice.

An idempotent confluent-kafka producer (acks=all, retries) sends events numbered 0, 1, 2, …; everything in an event
follows from its number, so what every view must hold follows from the numbers alone. A second client writes rows over
SQL. The seed decides when the process dies; --seed replays it, --kills sets how often (50).
"""

import collections
import datetime
import json
import random
import time

import deltalake
import psycopg
from compare import same_rows
from harness import Tail, until
from kafka_client import patient_producer, read_all

EVENTS_PER_SECOND = 4_000
# At most this many events are under way, so that an event can be late by as many milliseconds of event time.
UNDER_WAY_MAX = 20_000
PERSONS, COMPANIES, WINDOW_SECONDS = 1_000, 97, 10
BASE = datetime.datetime(2026, 1, 1)
FAR = BASE + datetime.timedelta(days=30)

PIPELINE = """
    CREATE STREAM payments (
        id BIGINT NOT NULL, person_id BIGINT NOT NULL, company_id BIGINT NOT NULL, cents BIGINT NOT NULL,
        paid_at TIMESTAMP NOT NULL, WATERMARK FOR paid_at AS paid_at - INTERVAL '60' SECOND
    ) WITH (topic = 'payments', format = 'json', partitions = '4', idle_timeout = '1 hour');
    CREATE TABLE persons (id BIGINT PRIMARY KEY, name VARCHAR);
    CREATE TABLE ledger (id BIGINT PRIMARY KEY, twice BIGINT);
    CREATE MATERIALIZED VIEW enriched WITH (retention = '10000 days', retention_bytes = '512 MiB') AS
        SELECT p.id, p.person_id, per.name AS person, p.company_id, p.cents, p.paid_at
        FROM payments p LEFT JOIN persons per ON per.id = p.person_id;
    CREATE MATERIALIZED VIEW by_company AS
        SELECT company_id, count(*) AS n, sum(cents) AS cents, min(id) AS id_min, max(id) AS id_max,
               count(DISTINCT person_id) AS persons
        FROM enriched GROUP BY company_id;
    CREATE MATERIALIZED VIEW by_window WITH (retention = '10000 days') AS
        SELECT window_start, company_id, count(*) AS n, sum(cents) AS cents
        FROM TABLE(TUMBLE(TABLE enriched, DESCRIPTOR(paid_at), INTERVAL '10' SECOND))
        GROUP BY window_start, company_id EMIT ON WINDOW CLOSE;
    CREATE SINK archive INTO LAKE 'payments' FROM enriched WITH (commit_interval = '2 s');
"""


def event(i):
    """(person_id, company_id, cents, paid_at) of event number i. One person in ten is unknown."""
    return i * 7_919 % (PERSONS + PERSONS // 10), i % COMPANIES, i * 31 % 10_007, BASE + datetime.timedelta(milliseconds=i)


def row(i):
    """The enriched row of event number i."""
    person, company, cents, at = event(i)
    return i, person, f"person {person}" if person < PERSONS else None, company, cents, at


class Storm:
    """The producer's side: numbers events, keeps which were acknowledged."""

    def __init__(self, address):
        self.sent = 0
        self.acknowledged = bytearray()
        self.failed = {}
        self.fatal = []
        self.under_way = 0
        self.producer = patient_producer(address, self.on_error)

    def on_error(self, error):
        if error.fatal():
            self.fatal.append(error)

    def delivered(self, i):
        def callback(error, _message):
            self.under_way -= 1
            if error is None:
                self.acknowledged[i] += 1
            else:
                self.failed[i] = error
        return callback

    def run(self, stop):
        started = time.monotonic()
        while not stop.is_set() and not self.fatal:
            due = int((time.monotonic() - started) * EVENTS_PER_SECOND)
            while self.sent < due and self.under_way < UNDER_WAY_MAX:
                i = self.sent
                person, company, cents, at = event(i)
                value = json.dumps({"id": i, "person_id": person, "company_id": company, "cents": cents,
                                    "paid_at": at.isoformat(timespec="milliseconds") + "Z", "note": "n" * (i % 200)})
                self.acknowledged.append(0)
                self.producer.produce("payments", value, key=str(company), on_delivery=self.delivered(i))
                self.under_way += 1
                self.sent += 1
                if i % 500 == 0:
                    self.producer.poll(0)
            if self.under_way >= UNDER_WAY_MAX:
                # Held back by the outage: do not try to make up for it in one burst.
                started = time.monotonic() - self.sent / EVENTS_PER_SECOND
            self.producer.poll(0.005)

    def close_windows(self):
        """One event far in the future on each partition moves the watermark past all the others."""
        for partition in range(4):
            value = json.dumps({"id": -1 - partition, "person_id": 0, "company_id": -1, "cents": 0, "paid_at": FAR.isoformat() + "Z"})
            self.producer.produce("payments", value, partition=partition)
        assert self.producer.flush(60) == 0, "the closing events were not acknowledged"


class Writer:
    """The SQL side: inserts numbered rows one after the other, keeps which were acknowledged."""

    def __init__(self, platform):
        self.platform, self.acknowledged, self.tried = platform, set(), 0

    def run(self, stop):
        connection = None
        while not stop.is_set():
            try:
                if connection is None:
                    connection = self.platform.connect()
                connection.execute("INSERT INTO ledger VALUES (%s, %s)", (self.tried, 2 * self.tried))
                self.acknowledged.add(self.tried)
                self.tried += 1
                time.sleep(0.01)
            except psycopg.OperationalError:
                # The process is gone; whether this row was written is not known, so its number is not used again.
                connection = None
                self.tried += 1
                time.sleep(0.02)


def kill_often(p, generator, kills):
    """Kills and restarts; returns how long each undisturbed start took, in milliseconds."""
    ready_ms = []
    for n in range(kills):
        if generator.random() < 0.15 and n:
            time.sleep(generator.uniform(0.0, 0.3))  # maybe in the middle of the recovery
        else:
            p.wait_ready()
            if n:
                ready_ms.append(1_000 * (time.monotonic() - started))
            time.sleep(generator.uniform(0.5, 4.0))
            if generator.random() < 0.2:
                rows, distinct = p.sql("SELECT count(*), count(DISTINCT id) FROM enriched")[0]
                assert rows == distinct, f"after {n} kills: {rows} rows of {distinct} events"
        p.kill()
        started = time.monotonic()
        p.start(wait=False)
    p.wait_ready()
    return ready_ms


def expected_by_company(ids):
    groups = collections.defaultdict(list)
    for i in ids:
        groups[i % COMPANIES].append(i)
    return [(c, len(g), sum(event(i)[2] for i in g), min(g), max(g), len({event(i)[0] for i in g})) for c, g in groups.items()]


def expected_by_window(ids):
    groups = collections.defaultdict(lambda: [0, 0])
    for i in ids:
        _, company, cents, at = event(i)
        seconds = int((at - BASE).total_seconds()) // WINDOW_SECONDS * WINDOW_SECONDS
        group = groups[BASE + datetime.timedelta(seconds=seconds), company]
        group[0] += 1
        group[1] += cents
    return [(*key, n, cents) for key, (n, cents) in groups.items()]


def verify(p, storm, writer):
    """Every result against the numbers. Returns how many events there are."""
    rows = p.sql("SELECT id, person_id, person, company_id, cents, paid_at FROM enriched WHERE id >= 0")
    ids = [r[0] for r in rows]
    present = set(ids)
    twice = [i for i, n in collections.Counter(ids).items() if n > 1]
    assert not twice, f"{len(twice)} events are in the enriched table more than once: {sorted(twice)[:5]}"
    lost = [i for i, n in enumerate(storm.acknowledged) if n and i not in present]
    assert not lost, f"{len(lost)} acknowledged events are not in the enriched table: {lost[:5]}"
    assert all(0 <= i < storm.sent for i in present), "the enriched table has events that were never sent"
    expected = [row(i) for i in present]
    same_rows("enriched", rows, expected)
    same_rows("by_company", p.sql("SELECT company_id, n, cents, id_min, id_max, persons FROM by_company WHERE company_id >= 0"),
              expected_by_company(present))
    windows = expected_by_window(present)
    p.wait_for("SELECT count(*) FROM by_window WHERE company_id >= 0", len(windows), 30)
    same_rows("by_window", p.sql("SELECT window_start, company_id, n, cents FROM by_window WHERE company_id >= 0"), windows)

    lake = str(p.data / "lake" / "payments")
    total = p.one("SELECT count(*) FROM enriched")
    until("the lake has all rows", lambda: deltalake.DeltaTable(lake).to_pyarrow_table(columns=["id"]).num_rows >= total, 60)
    table = deltalake.DeltaTable(lake).to_pyarrow_table(columns=["id", "person_id", "person", "company_id", "cents", "paid_at"])
    in_lake = [r for r in zip(*(column.to_pylist() for column in table.columns)) if r[0] >= 0]
    same_rows("the lake", in_lake, expected)

    in_topic = [json.loads(m.value())["id"] for m in read_all(p.kafka, "payments")]
    same_rows("the topic", [(i,) for i in in_topic if i >= 0], [(i,) for i in present])

    ledger = p.sql("SELECT id, twice FROM ledger")
    assert all(b == 2 * a for a, b in ledger)
    missing = writer.acknowledged - {a for a, _ in ledger}
    assert not missing, f"{len(missing)} rows acknowledged over SQL are gone: {sorted(missing)[:5]}"
    assert p.one("SELECT count(*) FROM pluvio.dead_letters") == 0
    return len(present)


def test_nothing_is_lost_or_counted_twice(platform, seed, request):
    kills = request.config.getoption("--kills")
    generator = random.Random(seed)
    p = platform()
    p.script(PIPELINE)
    with p.connect() as connection:
        values = ", ".join(f"({i}, 'person {i}')" for i in range(PERSONS))
        connection.execute(f"INSERT INTO persons VALUES {values}")

    storm, writer = Storm(p.kafka), Writer(p)
    sending, writing = Tail(storm.run), Tail(writer.run)
    began = time.monotonic()
    ready_ms = sorted(kill_often(p, generator, kills))
    sending.finish()
    writing.finish()
    assert not storm.fatal, f"the producer gave up: {storm.fatal[0]}"
    assert storm.producer.flush(120) == 0, "events are still not acknowledged two minutes after the last restart"
    assert not storm.failed, f"refused: {list(storm.failed.items())[:3]}"
    storm.close_windows()
    count = sum(map(bool, storm.acknowledged))
    p.wait_for("SELECT count(*) FROM enriched", storm.sent + 4, 60)
    verify(p, storm, writer)
    # And once more after a clean stop.
    assert p.stop() == 0
    p.start()
    verify(p, storm, writer)
    print(f"{kills} kills in {time.monotonic() - began:.0f} s, {count:,} events acknowledged, {len(writer.acknowledged):,} rows by SQL, "
          f"ready again in {ready_ms[len(ready_ms) // 2]:.0f} ms (median), {ready_ms[-1]:.0f} ms (longest)")
