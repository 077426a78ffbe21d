"""kill -9, a hundred times, under views of every kind: joins of streams, top-N, windows, sessions, sums of rows that are
taken back, views on views. In the end each view holds what DuckDB computes from the events in the topics.

An idempotent confluent-kafka producer sends the events; the seed decides when the process dies (--seed replays it,
--view-kills sets how often).
"""

import datetime
import json
import random
import time

import duckdb
from compare import same_rows
from harness import Tail
from kafka_client import patient_producer, read_all

EVENTS_PER_SECOND = 600
UNDER_WAY_MAX = 5_000
BASE = datetime.datetime(2026, 1, 1)
FAR = BASE + datetime.timedelta(days=30)
PARTITIONS = 3

STREAMS = """
    CREATE STREAM auctions (
        id BIGINT NOT NULL, category BIGINT, seen TIMESTAMP NOT NULL, WATERMARK FOR seen AS seen - INTERVAL '60' SECOND
    ) WITH (topic = 'auctions', format = 'json', partitions = '3', idle_timeout = '1 hour');
    CREATE STREAM bids (
        id BIGINT NOT NULL, auction BIGINT, bidder BIGINT, price BIGINT, seen TIMESTAMP NOT NULL,
        WATERMARK FOR seen AS seen - INTERVAL '60' SECOND
    ) WITH (topic = 'bids', format = 'json', partitions = '3', idle_timeout = '1 hour');
"""

# Each view's query in our SQL, and what DuckDB is asked.
VIEWS = {
    "best": ("""
        SELECT auction, category, id, price FROM (
            SELECT b.auction, a.category, b.id, b.price,
                   ROW_NUMBER() OVER (PARTITION BY b.auction ORDER BY b.price DESC, b.id) AS place
            FROM bids b JOIN auctions a ON a.id = b.auction
        ) WHERE place <= 2""", None),
    "by_category": ("SELECT category, count(*) AS n, sum(price) AS total, max(price) AS most, min(id) AS first FROM best GROUP BY category", None),
    "counts": ("SELECT auction, count(*) AS n, count(DISTINCT bidder) AS bidders FROM bids GROUP BY auction", None),
    "by_count": ("SELECT n, count(*) AS auctions FROM counts GROUP BY n", None),
    "alone": ("SELECT id, category FROM auctions a WHERE NOT EXISTS (SELECT 1 FROM bids b WHERE b.auction = a.id)", None),
    "everything": ("SELECT a.id, b.id AS bid FROM auctions a FULL JOIN bids b ON b.auction = a.id", None),
    "ids": ("SELECT id FROM auctions UNION SELECT auction FROM bids", None),
    "windows": ("""
        SELECT window_start, auction, n FROM (
            SELECT window_start, auction, n, ROW_NUMBER() OVER (PARTITION BY window_start ORDER BY n DESC, auction) AS place FROM (
                SELECT window_start, window_end, auction, count(*) AS n
                FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(seen), INTERVAL '2' SECOND)) GROUP BY window_start, window_end, auction
            )
        ) WHERE place = 1 EMIT ON WINDOW CLOSE""", """
        SELECT window_start, auction, n FROM (
            SELECT time_bucket(INTERVAL 2 SECOND, seen) AS window_start, auction, count(*) AS n FROM bids WHERE id >= 0 GROUP BY ALL
        ) QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start ORDER BY n DESC, auction NULLS LAST) = 1"""),
    "sessions": ("""
        SELECT bidder, window_start, window_end, count(*) AS n
        FROM TABLE(SESSION(TABLE bids PARTITION BY bidder, DESCRIPTOR(seen), INTERVAL '1' SECOND))
        GROUP BY bidder, window_start, window_end EMIT ON WINDOW CLOSE""", """
        WITH begun AS (
            SELECT bidder, seen, CASE WHEN seen <= lag(seen) OVER w + INTERVAL 1 SECOND THEN 0 ELSE 1 END AS begins
            FROM bids WHERE id >= 0 WINDOW w AS (PARTITION BY bidder ORDER BY seen, id)
        ), numbered AS (SELECT *, sum(begins) OVER (PARTITION BY bidder ORDER BY seen ROWS UNBOUNDED PRECEDING) AS session FROM begun)
        SELECT bidder, min(seen), max(seen) + INTERVAL 1 SECOND, count(*) FROM numbered GROUP BY bidder, session"""),
}


def auction(i):
    """Auction number i; every fifth comes long after its bids."""
    return {"id": i, "category": i % 7, "seen": stamp(i * 20)}


def bid(i):
    """Bid number i. Some name an auction that never comes, some none."""
    return {"id": i, "auction": None if i % 53 == 0 else i * 37 % (i // 12 + 40), "bidder": i * i % 97, "price": i * 7_919 % 10_007, "seen": stamp(i)}


def stamp(ms):
    return (BASE + datetime.timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"


class Sender:
    """Sends bids and, a third of a second behind, auctions; all are acknowledged in the end."""

    def __init__(self, address):
        self.sent, self.refused, self.under_way, self.fatal = 0, [], 0, []
        self.producer = patient_producer(address, lambda error: error.fatal() and self.fatal.append(error))

    def delivered(self, error, _message):
        self.under_way -= 1
        if error is not None:
            self.refused.append(error)

    def send(self, topic, event, partition):
        self.under_way += 1
        self.producer.produce(topic, json.dumps(event), partition=partition, on_delivery=self.delivered)

    def run(self, stop):
        started = time.monotonic()
        while not stop.is_set() and not self.fatal:
            due = int((time.monotonic() - started) * EVENTS_PER_SECOND)
            while self.sent < due and self.under_way < UNDER_WAY_MAX:
                i = self.sent
                self.send("bids", bid(i), i % PARTITIONS)
                if i % 20 == 0 and i >= 200:
                    self.send("auctions", auction(i // 20 - 10), i % PARTITIONS)
                self.sent += 1
            if self.under_way >= UNDER_WAY_MAX:
                started = time.monotonic() - self.sent / EVENTS_PER_SECOND
            self.producer.poll(0.01)

    def finish(self):
        """The last events close all windows."""
        for n in range(PARTITIONS):
            far = FAR.isoformat() + "Z"
            self.send("bids", {"id": -1 - n, "auction": -1, "bidder": -1, "price": -1, "seen": far}, n)
            self.send("auctions", {"id": -100 - n, "category": -1, "seen": far}, n)
        assert self.producer.flush(120) == 0, "events are still not acknowledged two minutes after the last start"
        assert not self.fatal and not self.refused, (self.fatal, self.refused[:3])


def topics_in_duckdb(p):
    """The events of both topics, read by a Kafka client, as tables."""
    database = duckdb.connect()
    database.execute("CREATE TABLE auctions (id BIGINT, category BIGINT, seen TIMESTAMP)")
    database.execute("CREATE TABLE bids (id BIGINT, auction BIGINT, bidder BIGINT, price BIGINT, seen TIMESTAMP)")
    for table in ("auctions", "bids"):
        rows = [tuple(json.loads(message.value()).values()) for message in read_all(p.kafka, table)]
        assert len(rows) == len(set(rows)), f"{table}: an event is in the topic twice"
        rows = [(*row[:-1], datetime.datetime.fromisoformat(row[-1]).replace(tzinfo=None)) for row in rows]
        database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    return database


def verify(p, sender):
    p.sql("FLUSH")
    database = topics_in_duckdb(p)
    assert database.sql("SELECT count(*) FROM bids WHERE id >= 0").fetchall() == [(sender.sent,)], "a bid is lost"
    for name, (query, checked) in VIEWS.items():
        if checked is None:
            database.execute(f"CREATE VIEW {name} AS {query}")
        rows = database.sql(checked or f"SELECT * FROM {name}").fetchall()
        assert rows, f"{name} shows nothing"
        same_rows(name, p.sql(f"SELECT * FROM {name}"), rows)
    assert p.one("SELECT count(*) FROM pluvio.dead_letters") == 0


def test_views_are_exact_through_kills(platform, seed, request):
    kills = request.config.getoption("--view-kills")
    generator = random.Random(seed)
    p = platform()
    p.script(STREAMS + "".join(f"CREATE MATERIALIZED VIEW {name} WITH (retention = '10000 days', retention_bytes = '1 GiB') AS {query};" for name, (query, _) in VIEWS.items()))
    sender = Sender(p.kafka)
    sending = Tail(sender.run)
    began = time.monotonic()
    for n in range(kills):
        if generator.random() < 0.15 and n:
            time.sleep(generator.uniform(0.0, 0.2))  # maybe in the middle of the recovery
        else:
            p.wait_ready()
            time.sleep(generator.uniform(0.1, 1.5))
        p.kill()
        p.start(wait=False)
    p.wait_ready()
    sending.finish()
    sender.finish()
    verify(p, sender)
    assert p.stop() == 0
    p.start()
    verify(p, sender)
    print(f"{kills} kills in {time.monotonic() - began:.0f} s, {sender.sent:,} bids")
