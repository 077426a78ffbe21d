"""What Kafka's clients write, as SQL sees it."""

import json

import pytest
from client_suite import AT
from clients.aio import Aio
from clients.base import Record
from clients.confluent import Confluent
from clients.franz import Franz
from clients.kafka_js import KafkaJs
from clients.kafka_python import KafkaPython

STREAM = """
    CREATE STREAM events (n BIGINT NOT NULL, writer VARCHAR, compression VARCHAR)
    WITH (topic = 'events', partitions = '2', on_error = 'dead_letter');
    CREATE MATERIALIZED VIEW seen AS SELECT writer, compression, count(*) AS n, sum(n) AS total FROM events
      GROUP BY writer, compression;
"""


def events(writer, count, compression="none", start=0):
    return [Record(b"%d" % n, json.dumps({"n": n, "writer": writer, "compression": compression}).encode(), (), AT + n)
            for n in range(start, start + count)]


def test_a_view_holds_what_every_client_wrote_in_every_compression(platform):
    p = platform()
    p.script(STREAM)
    expected = []
    for kind in (Confluent, KafkaPython, Aio, KafkaJs, Franz):
        client = kind(p.kafka)
        for compression in client.compressions:
            client.produce("events", events(kind.name, 100, compression), compression)
            expected.append((kind.name, compression, 100, 4_950))
        client.close()
    p.wait_for("SELECT sum(n) FROM seen", 100 * len(expected))
    assert p.sql("SELECT * FROM seen ORDER BY writer, compression") == sorted(expected)
    assert p.one("SELECT count(*) FROM events") == 100 * len(expected)
    assert p.one("SELECT count(*) FROM pluvio.dead_letters") == 0


@pytest.mark.parametrize("kind", [Confluent, Franz], ids=lambda kind: kind.name)
def test_a_view_holds_what_was_committed(platform, kind):
    p = platform()
    p.script(STREAM)
    client = kind(p.kafka)
    transactional = client.transaction("tx")
    for n, commit in enumerate((True, False, False, True)):
        transactional.begin()
        transactional.send("events", events("committed" if commit else "aborted", 10, start=10 * n))
        transactional.end(commit)
    client.produce("events", events("plain", 10))
    p.wait_for("SELECT sum(n) FROM seen", 30)
    assert p.sql("SELECT writer, n, total FROM seen ORDER BY writer") == [("committed", 20, 390), ("plain", 10, 45)]
    # Nobody sees an open transaction, nor what came after it in its partitions.
    transactional.begin()
    transactional.send("events", events("late", 10))
    client.produce("events", events("after", 10))
    p.sql("FLUSH")
    assert p.one("SELECT count(*) FROM events WHERE writer = 'late'") == 0
    assert p.one("SELECT count(*) FROM seen WHERE writer = 'late'") == 0
    transactional.end(commit=True)
    p.wait_for("SELECT sum(n) FROM seen", 50)
    assert p.one("SELECT count(*) FROM events") == 50
    assert p.one("SELECT count(*) FROM pluvio.dead_letters") == 0
    client.close()
