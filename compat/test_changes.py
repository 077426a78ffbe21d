"""Formats and changes through clients that others wrote: Avro and Protobuf from their own libraries, upserts and a
database's changes in and out of topics, and the feeds."""

import io
import json
import random
import socket
import struct
import time

import fastavro
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from harness import until

AVRO = {"type": "record", "name": "Reading", "fields": [
    {"name": "sensor", "type": "long"},
    {"name": "value", "type": ["null", "double"], "default": None},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "place", "type": {"type": "record", "name": "Place", "fields": [
        {"name": "room", "type": "string"}, {"name": "floor", "type": "int"}]}},
]}
PROTO = """syntax = "proto3"; package shop;
message Order { int64 id = 1; string customer = 2; repeated Item items = 3; map<string, int64> notes = 4;
  message Item { string name = 1; double price = 2; } }"""


def run(platform, text):
    with platform.connect() as connection:
        for statement in filter(str.strip, text.split(";;")):
            connection.execute(statement)


def rows(platform, query):
    with platform.connect() as connection:
        return connection.execute(query).fetchall()


def producer(platform):
    return Producer({"bootstrap.servers": platform.kafka, "acks": "all", "linger.ms": 5})


def test_avro_written_by_fastavro(platform):
    one = platform()
    run(one, f"""CREATE STREAM plain (sensor BIGINT, value DOUBLE, at TIMESTAMP, tags ARRAY<VARCHAR>,
        place STRUCT<room VARCHAR, floor INT>) WITH (format = 'avro', schema = '{json.dumps(AVRO)}', partitions = 2);;
        CREATE STREAM framed (sensor BIGINT, value DOUBLE) WITH (format = 'avro', schema_id = true, schema = '{json.dumps(AVRO)}');;
        CREATE MATERIALIZED VIEW seen AS SELECT sensor, value, at, tags[1] AS tag, place['room'] AS room FROM plain;;
        CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(value) AS value FROM framed""")
    schema, out = fastavro.parse_schema(AVRO), producer(one)
    for n in range(1000):
        record = {"sensor": n, "value": None if n % 10 == 0 else n / 4, "at": 1_700_000_000_000 + n, "tags": [f"t{n}", "x"],
                  "place": {"room": f"r{n % 7}", "floor": n % 3}}
        body = io.BytesIO()
        fastavro.schemaless_writer(body, schema, record)
        out.produce("plain", body.getvalue(), key=str(n))
        out.produce("framed", b"\0" + struct.pack(">I", 7) + body.getvalue())
    out.produce("plain", b"\xff not avro")
    assert out.flush(30) == 0
    run(one, "FLUSH")
    assert rows(one, "SELECT count(*), count(value), sum(value)::DOUBLE, count(DISTINCT room), min(tag), max(at)::VARCHAR FROM seen") == [
        (1000, 900, sum(n / 4 for n in range(1000) if n % 10), 7, "t0", "2023-11-14T22:13:20.999")]
    assert rows(one, "SELECT n, value FROM total") == [(1000, sum(n / 4 for n in range(1000) if n % 10))]
    assert rows(one, "SELECT count(*) FROM pluvio.dead_letters WHERE stream = 'plain'") == [(1,)]


def order_class():
    """The message class, made without protoc from a descriptor of the same message."""
    file = descriptor_pb2.FileDescriptorProto(name="order.proto", package="shop", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    order = file.message_type.add(name="Order")
    order.field.add(name="id", number=1, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    order.field.add(name="customer", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    item = order.nested_type.add(name="Item")
    item.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    item.field.add(name="price", number=2, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL)
    order.field.add(name="items", number=3, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".shop.Order.Item")
    entry = order.nested_type.add(name="NotesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    order.field.add(name="notes", number=4, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".shop.Order.NotesEntry")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    files = descriptor_pb2.FileDescriptorSet(file=[file])
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order")), files.SerializeToString()


def test_protobuf_written_by_its_own_library(platform, tmp_path):
    Order, descriptors = order_class()
    one = platform()
    (tmp_path / "order.desc").write_bytes(descriptors)
    columns = "id BIGINT, customer VARCHAR, items ARRAY<STRUCT<name VARCHAR, price DOUBLE>>, notes MAP<VARCHAR, BIGINT>"
    run(one, f"""CREATE STREAM orders ({columns}) WITH (format = 'protobuf', message = 'shop.Order', schema = '{PROTO}');;
        CREATE STREAM same ({columns}) WITH (topic = 'orders', format = 'protobuf', message = 'Order', schema_file = '{tmp_path}/order.desc');;
        CREATE MATERIALIZED VIEW items AS SELECT id, i['name'] AS name, i['price'] AS price
          FROM (SELECT id, unnest(items) AS i FROM orders);;
        CREATE MATERIALIZED VIEW noted AS SELECT id, notes['weight'] AS weight FROM same WHERE customer <> 'c3'""")
    out = producer(one)
    for n in range(500):
        order = Order(id=n, customer=f"c{n % 5}", notes={"weight": n * 2})
        for i in range(n % 4):
            order.items.add(name=f"i{i}", price=i + 0.5)
        out.produce("orders", order.SerializeToString())
    assert out.flush(30) == 0
    run(one, "FLUSH")
    expected = [(n, i) for n in range(500) for i in range(n % 4)]
    assert rows(one, "SELECT count(*), sum(id)::BIGINT, sum(price) FROM items") == [
        (len(expected), sum(n for n, _ in expected), sum(i + 0.5 for _, i in expected))]
    assert rows(one, "SELECT count(*), sum(weight)::BIGINT FROM noted") == [(400, sum(2 * n for n in range(500) if n % 5 != 3))]


def consume(address, topic, done, seconds=60):
    """A topic's committed events as (key, value), until `done` says so of them."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": f"check-{time.monotonic_ns()}",
                         "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
    consumer.subscribe([topic])
    found, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline and not done(found):
        found.extend((m.key(), m.value()) for m in consumer.consume(1000, 0.2) if not m.error())
    consumer.close()
    return found


def test_changes_out_and_in_again_while_killed(platform, seed):
    """A view that updates its rows goes to topics as upserts and as Debezium's changes; streams over these topics, and a
    client, get the view's rows again. The process is killed in between."""
    random.seed(seed)
    one = platform()
    with one.connect() as connection:
        connection.execute("CREATE STREAM clicks (page VARCHAR, kind VARCHAR, n BIGINT) WITH (partitions = 3)")
        connection.execute("CREATE MATERIALIZED VIEW counts AS SELECT page, kind, sum(n) AS n FROM clicks GROUP BY page, kind HAVING sum(n) % 5 <> 0")
    out = producer(one)

    def click(count):
        for _ in range(count):
            out.produce("clicks", json.dumps({"page": f"p{random.randrange(40)}", "kind": random.choice("ab"), "n": random.randrange(1, 9)}))
        assert out.flush(60) == 0

    click(2000)
    run(one, "FLUSH")
    admin = AdminClient({"bootstrap.servers": one.kafka})
    for future in admin.create_topics([NewTopic(name, 2, 1) for name in ("upserts", "cdc")]).values():
        future.result(30)
    at = f"connector = 'kafka', brokers = '{one.kafka}', commit_interval = '100 ms'"
    run(one, f"""CREATE SINK as_upserts FROM counts WITH ({at}, topic = 'upserts', changes = 'upsert');;
        CREATE SINK as_cdc FROM counts WITH ({at}, topic = 'cdc', format = 'debezium');;
        CREATE STREAM back (page VARCHAR, kind VARCHAR, n BIGINT, PRIMARY KEY (page, kind)) WITH (topic = 'upserts', changes = 'upsert');;
        CREATE STREAM back_cdc (page VARCHAR, kind VARCHAR, n BIGINT) WITH (topic = 'cdc', format = 'debezium');;
        CREATE MATERIALIZED VIEW copy AS SELECT * FROM back;;
        CREATE MATERIALIZED VIEW copy_cdc AS SELECT page, kind, n FROM back_cdc""")
    for _ in range(5):
        click(1500)
        one.kill()
        one.start()
        out = producer(one)
    click(500)
    run(one, "FLUSH")
    expected = sorted(rows(one, "SELECT page, kind, n FROM counts"))
    assert len(expected) > 40
    for view in ("copy", "copy_cdc", "back", "back_cdc"):
        until(f"{view} has the view's rows", lambda: sorted(rows(one, f"SELECT page, kind, n FROM {view}")) == expected, 60)
    assert rows(one, "SELECT count(*) FROM pluvio.dead_letters") == [(0,)]

    def state(events):
        last = {}
        for key, value in events:
            last[key] = value
        return sorted((v["page"], v["kind"], v["n"]) for v in map(json.loads, filter(None, last.values())))

    assert state(consume(one.kafka, "upserts", lambda found: state(found) == expected)) == expected
    changes = [json.loads(value) for _, value in consume(one.kafka, "cdc", lambda found: False, 5)]
    standing = {}
    for change in changes:
        key = tuple((change["before"] or change["after"])[name] for name in ("page", "kind"))
        assert standing.get(key) == change["before"], "what goes is what was there"
        standing[key] = change["after"]
    assert sorted((v["page"], v["kind"], v["n"]) for v in standing.values() if v) == expected


def test_files_and_lines_and_a_generator(platform, tmp_path):
    """A file that rotates while the process is killed, lines from a socket, and made-up events."""
    one = platform()
    logs = tmp_path / "logs"
    logs.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run(one, f"""CREATE STREAM lines (line VARCHAR, file VARCHAR METADATA FROM 'header.file')
          WITH (format = 'raw', connector = 'files', path = '{logs}/app*.log');;
        CREATE STREAM said (n BIGINT) WITH (connector = 'lines', listen = '127.0.0.1:{port}');;
        CREATE STREAM made (n BIGINT, name VARCHAR, score DOUBLE) WITH (connector = 'datagen', 'number-of-rows' = '20000',
          'rows-per-second' = '0', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.name.length' = '4');;
        CREATE MATERIALIZED VIEW numbers AS SELECT count(*) AS n, count(DISTINCT line) AS different, count(DISTINCT file) AS files FROM lines;;
        CREATE MATERIALIZED VIEW heard AS SELECT sum(n) AS n FROM said;;
        CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n, sum(n) AS total FROM made""")
    written = 0
    for turn in range(4):
        with open(logs / "app.log", "a") as file:
            for _ in range(2500):
                file.write(f"line {written}\n")
                written += 1
        if turn % 2:
            (logs / "app.log").rename(logs / f"app-{turn}.log")
        one.kill()
        one.start()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall("".join(f'{{"n":{n}}}\n' for n in range(1000)).encode())
    until("every line is there, once", lambda: rows(one, "SELECT n, different FROM numbers") == [(written, written)], 60)
    until("the lines of the socket", lambda: rows(one, "SELECT n::BIGINT FROM heard") == [(499_500,)], 30)
    until("the generator's events", lambda: rows(one, "SELECT n, total::BIGINT FROM counted") == [(20_000, 199_990_000)], 30)
    assert rows(one, "SELECT kind, state FROM pluvio.feeds ORDER BY kind") == [
        ("files", "running"), ("generator", "finished"), ("lines", "running")]


@pytest.mark.parametrize("statement, message", [
    ("CREATE STREAM x (a BIGINT) WITH (connector = 'lines', listen = '0.0.0.0:9')", "allow"),
    ("CREATE STREAM x (a BIGINT) WITH (connector = 'files')", "path"),
    ("CREATE STREAM x (a BIGINT) WITH (connector = 'rabbit')", "kafka"),
    ("CREATE STREAM x (a BIGINT) WITH (connector = 'generator', rows = 1)", "number_of_rows"),
])
def test_feeds_that_cannot_be(platform, statement, message):
    one = platform()
    with one.connect() as connection, pytest.raises(Exception, match=message):
        connection.execute(statement)
