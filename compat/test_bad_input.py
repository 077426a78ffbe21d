"""Bad input never stops a job: a dead letter or NULL as declared, with place and reason. Bad pipelines are refused whole."""

import json
import re
import socket

import pytest
from confluent_kafka import KafkaError, Producer
from harness import Pluvio, free_ports
from kafka_client import create_topic, send_all

GOOD = [json.dumps({"id": i, "customer": i % 3, "quantity": i, "price": i / 4, "placed_at": "2026-11-01T10:00:00Z"}).encode() for i in range(100)]
# What is sent, and what the reason must speak of.
BAD = [
    (b'{"id": 1, "quantity": ', r"."),
    (b"not json", r"."),
    (b"", r"."),
    (b"[1, 2, 3]", r"."),
    (b'"text"', r"."),
    (b'{"id": 1, "quantity": 1} trailing', r"."),
    (b'\xff\xfe{"id": 1}', r"."),
    (b'{"id": 1, "customer": "\xc3\x28"}', r"."),
    (b'{"id": 1, "quantity": "many"}', r"quantity"),
    (b'{"id": 1, "price": {"euro": 1}}', r"price"),
    (b'{"id": 99999999999999999999, "quantity": 1}', r"id"),
    (b'{"id": 1, "quantity": 3000000000}', r"quantity"),
    (b'{"id": 1, "placed_at": "yesterday"}', r"placed_at"),
    (b'{"quantity": 1, "price": 2.5}', r"id"),
    (b'{"id": null, "quantity": 1}', r"id"),
    (b'{"id": 1, "customer": ' + b"[" * 5_000 + b"}", r"."),
]
STREAM = """
    CREATE STREAM orders (id BIGINT NOT NULL, customer BIGINT, quantity INT, price DOUBLE, placed_at TIMESTAMP)
    WITH (topic = 'orders', format = 'json', partitions = '3', on_error = '{on_error}');
    CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR);
    INSERT INTO customers VALUES (0, 'Zoe'), (1, 'Una');
    CREATE MATERIALIZED VIEW named AS
      SELECT o.id, o.quantity, o.price, c.name FROM orders o LEFT JOIN customers c ON c.id = o.customer;
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(quantity) AS quantity FROM orders;
"""


def test_dead_letters_carry_place_and_reason_and_the_job_goes_on(platform):
    p = platform()
    p.script(STREAM.format(on_error="dead_letter"))
    send_all(p.kafka, "orders", GOOD[:50])
    places = send_all(p.kafka, "orders", [value for value, _ in BAD])
    send_all(p.kafka, "orders", GOOD[50:])
    p.wait_for("SELECT count(*) FROM named", len(GOOD), 30)
    p.wait_for("SELECT count(*) FROM pluvio.dead_letters WHERE stream = 'orders'", len(BAD), 30)
    letters = {(partition, offset): (topic, reason, value) for topic, partition, offset, reason, value in p.sql(
        'SELECT topic, partition, "offset", reason, value FROM pluvio.dead_letters')}
    assert set(letters) == set(places)
    for place, (sent, expected) in zip(places, BAD):
        topic, reason, value = letters[place]
        assert topic == "orders"
        assert re.search(expected, reason), f"{sent[:60]!r}: the reason {reason!r} does not speak of {expected!r}"
        text = sent.decode(errors="replace")
        assert value[:20] == text[:20] and len(value) <= 1_100, f"{sent[:60]!r} was kept as {value[:60]!r}"
    assert p.sql("SELECT n, quantity FROM totals") == [(100, sum(range(100)))]


def test_an_unknown_lookup_key_gives_null(platform):
    p = platform()
    p.script(STREAM.format(on_error="dead_letter"))
    send_all(p.kafka, "orders", GOOD + [b'{"id": 1000}'])
    p.wait_for("SELECT count(*) FROM named", 101, 30)
    names = dict(p.sql("SELECT coalesce(name, '-'), count(*) FROM named GROUP BY name"))
    assert names == {"Zoe": 34, "Una": 33, "-": 34}
    # A customer added now is found by orders that come now; earlier rows stay as they were.
    p.sql("INSERT INTO customers VALUES (2, 'Tess')")
    send_all(p.kafka, "orders", [b'{"id": 2000, "customer": 2}'])
    p.wait_for("SELECT count(*) FROM named WHERE name = 'Tess'", 1, 30)


def test_an_unknown_lookup_key_is_a_dead_letter_where_declared(platform):
    p = platform()
    p.script(STREAM.format(on_error="dead_letter"))
    p.script("""
        CREATE MATERIALIZED VIEW strict WITH (unknown_key = 'dead_letter') AS
        SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer;
    """)
    places = send_all(p.kafka, "orders", [b'{"id": 1, "customer": 0}', b'{"id": 2, "customer": 77}', b'{"id": 3, "customer": 1}'])
    p.wait_for("SELECT count(*) FROM strict", 2, 30)
    letters = p.sql("SELECT topic, partition, \"offset\", reason, value FROM pluvio.dead_letters")
    assert len(letters) == 1
    topic, partition, offset, reason, value = letters[0]
    assert (topic, partition, offset) == ("orders", *places[1])
    assert "customers" in reason and '"id":2' in value


def test_on_error_null_keeps_the_event(platform):
    p = platform()
    p.script(STREAM.format(on_error="null"))
    send_all(p.kafka, "orders", [
        b'{"id": 1, "quantity": "many", "price": 2.5, "customer": 0}',
        b'{"id": 2, "quantity": 4, "price": {"euro": 1}}',
        b'{"id": "three", "quantity": 5}',
        b"not json",
        b'{"id": 4, "quantity": 6}',
    ])
    p.wait_for("SELECT count(*) FROM pluvio.dead_letters", 2, 30)
    p.wait_for("SELECT count(*) FROM named", 3, 30)
    assert p.sql("SELECT id, quantity, price, name FROM named ORDER BY id") == [
        (1, None, 2.5, "Zoe"), (2, 4, None, None), (4, 6, None, None)]


def test_csv_streams_have_dead_letters_too(platform):
    p = platform()
    p.script("""
        CREATE STREAM readings (sensor INT NOT NULL, celsius DOUBLE, note VARCHAR)
        WITH (topic = 'readings', format = 'csv', partitions = '1', on_error = 'dead_letter');
        CREATE MATERIALIZED VIEW r AS SELECT * FROM readings;
    """)
    send_all(p.kafka, "readings", [b'1,20.5,"warm, sunny"', b"2,,", b"three,1,x", b"4,cold,x", b",1,x", b"5,1,x,too,many", b'6,1,"say ""hi"""'])
    p.wait_for("SELECT count(*) FROM pluvio.dead_letters", 4, 30)
    p.wait_for("SELECT count(*) FROM r", 3, 30)
    assert p.sql("SELECT sensor, celsius, note FROM r ORDER BY sensor") == [
        (1, 20.5, "warm, sunny"), (2, None, None), (6, 1.0, 'say "hi"')]
    assert sorted(o for (o,) in p.sql('SELECT "offset" FROM pluvio.dead_letters')) == [2, 3, 4, 5]


def test_dead_letters_survive_a_kill(platform):
    p = platform()
    p.script(STREAM.format(on_error="dead_letter"))
    places = send_all(p.kafka, "orders", [value for value, _ in BAD] + GOOD)
    p.wait_for("SELECT count(*) FROM named", len(GOOD), 30)
    p.kill()
    p.start()
    p.wait_for("SELECT count(*) FROM named", len(GOOD), 30)
    letters = p.sql('SELECT partition, "offset" FROM pluvio.dead_letters')
    assert sorted(letters) == sorted(places[:len(BAD)])


def test_an_oversized_record_is_refused_to_its_producer_only(platform):
    p = platform()
    create_topic(p.kafka, "t")
    errors = []
    producer = Producer({"bootstrap.servers": p.kafka, "message.max.bytes": 20_000_000, "retries": 0, "linger.ms": 0})
    producer.produce("t", b"x" * 3_000_000, on_delivery=lambda e, m: errors.append(e and e.code()))
    producer.flush(30)
    producer.produce("t", b"small", on_delivery=lambda e, m: errors.append(e and e.code()))
    producer.flush(30)
    assert errors == [KafkaError.MSG_SIZE_TOO_LARGE, None]


def test_a_frame_that_is_no_kafka_request_closes_that_connection_only(platform):
    p = platform()
    create_topic(p.kafka, "t")
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x7f\xff\xff\xff" + b"\x00" * 64, b"\x00\x00\x00\x08\xff\xff\xff\xff\x00\x00\x00\x01", b"\xff" * 32):
        with socket.create_connection(("127.0.0.1", p.kafka_port), timeout=10) as connection:
            connection.settimeout(10)
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    send_all(p.kafka, "t", [b"still here"])


BAD_PIPELINES = {
    "a word that is wrong": ("CREATE TABLE t (id BIGINT PRIMARY KEY);\n\nCREATE STRAEM s (a INT) WITH (topic = 's');", 3),
    "a comma that is missing": ("CREATE STREAM s (\n  a INT\n  b INT\n) WITH (topic = 's', format = 'json');", 3),
    "an unknown column": ("CREATE STREAM s (a INT) WITH (topic = 's', format = 'json');\nCREATE MATERIALIZED VIEW v AS\n  SELECT a,\n    nosuch FROM s;", 4),
    "an unknown table": ("CREATE STREAM s (a INT) WITH (topic = 's', format = 'json');\nCREATE MATERIALIZED VIEW v AS\n  SELECT * FROM nosuch;", 3),
    "an unknown function": ("CREATE STREAM s (a INT) WITH (topic = 's', format = 'json');\nCREATE MATERIALIZED VIEW v AS\n  SELECT nosuch(a) AS b FROM s;", 3),
    "an unknown option": ("CREATE STREAM s (a INT)\nWITH (topic = 's', fromat = 'json');", 2),
    "a wrong option's value": ("CREATE STREAM s (a INT)\nWITH (topic = 's', format = 'yaml');", 2),
    "an unknown type": ("CREATE STREAM s (\n  a INTT\n) WITH (topic = 's');", 2),
    "a table without a key": ("\nCREATE TABLE t (id BIGINT);", 2),
    "a name used twice": ("CREATE TABLE t (id BIGINT PRIMARY KEY);\nCREATE TABLE t (id BIGINT PRIMARY KEY);", 2),
    "a file that is missing": ("CREATE TABLE t (id BIGINT PRIMARY KEY);\nCOPY t FROM 'nosuch.csv';", 2),
}


@pytest.mark.parametrize("case", BAD_PIPELINES)
def test_check_names_line_and_column(tmp_path, platform, case):
    text, line = BAD_PIPELINES[case]
    file = tmp_path / "bad.sql"
    file.write_text(text + "\n")
    done = platform(start=False).cli("check", str(file), check=False)
    said = done.stdout + done.stderr
    assert done.returncode not in (0, 101), said
    assert re.search(rf"\bline {line}, column \d+|:{line}:\d+", said), f"expected line {line} with a column:\n{said}"


def test_check_accepts_the_examples(platform):
    from harness import ROOT

    p = platform(start=False)
    for name in ("card-payments", "flights", "weblogs"):
        p.cli("check", str(ROOT / "examples" / name / "pipeline.sql"))


def test_run_refuses_a_bad_file_whole(tmp_path, platform):
    file = tmp_path / "bad.sql"
    text, line = BAD_PIPELINES["an unknown column"]
    file.write_text(text)
    p = platform(start=False, pipeline=file)
    with pytest.raises(AssertionError, match="before it was ready"):
        p.start()
    assert p.process.returncode not in (0, 101)
    assert re.search(rf"\bline {line}, column \d+|:{line}:\d+", p.log_tail())
    # Nothing of the file was created.
    empty = Pluvio(p.folder)
    empty.start()
    try:
        assert empty.one("SELECT count(*) FROM pluvio.jobs") == 0
        assert empty.one("SELECT count(*) FROM pluvio.topics WHERE name = 's'") == 0
    finally:
        empty.kill()


def test_a_port_in_use_names_the_option(platform):
    p = platform(start=False)
    for option, port in (("--kafka-listen", p.kafka_port), ("--postgres-listen", p.postgres_port), ("--http-listen", p.http_port)):
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
            with pytest.raises(AssertionError, match="before it was ready"):
                p.start()
            assert option in p.log_tail(5) and str(port) in p.log_tail(5), p.log_tail(5)


def test_an_open_address_without_authentication_is_refused(platform):
    p = platform(start=False)
    port, = free_ports(1)
    p.arguments = ["--http-listen", f"0.0.0.0:{port}"]
    command = p.command()
    at = command.index("--http-listen")
    del command[at:at + 2]
    p.command = lambda: command
    with pytest.raises(AssertionError, match="before it was ready"):
        p.start()
    assert "0.0.0.0" in p.log_tail(5)
