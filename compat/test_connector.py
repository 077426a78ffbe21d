"""Streams and sinks whose topics are elsewhere: in another Pluvio and in an Apache Kafka, exactly once."""

import json
import threading
import time

import pytest
from certificates import authority, certificate
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from harness import until
from kafka_oracle import Kafka

EVENTS = 20_000


def make_topics(address, *names, partitions=3):
    admin = AdminClient({"bootstrap.servers": address})
    for future in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        future.result(30)


def produce(address, topic, numbers, transactional=None):
    settings = {"bootstrap.servers": address, "acks": "all", "linger.ms": 5, "enable.idempotence": True}
    if transactional:
        settings["transactional.id"] = transactional
    producer = Producer(settings)
    if transactional:
        producer.init_transactions(30)
        producer.begin_transaction()
    for n in numbers:
        while True:
            try:
                producer.produce(topic, json.dumps({"id": n, "kind": n % 7}), key=str(n))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0
    return producer


def read_all(address, topic, count, seconds=90):
    """The values of a topic's committed events, once there are `count`, and a second longer."""
    consumer = Consumer({
        "bootstrap.servers": address, "group.id": f"check-{time.monotonic_ns()}", "auto.offset.reset": "earliest",
        "isolation.level": "read_committed", "enable.auto.commit": False,
    })
    consumer.subscribe([topic])
    found, deadline, quiet = [], time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        messages = consumer.consume(1000, 0.2)
        found.extend((message.key(), json.loads(message.value())) for message in messages if not message.error())
        if len(found) >= count:
            quiet = time.monotonic() if messages or quiet is None else quiet
            if time.monotonic() - quiet > 1:
                break
    consumer.close()
    return found


def pipeline(address, **options):
    extra = "".join(f", '{name}' = '{value}'" for name, value in options.items())
    at = f"connector = 'kafka', brokers = '{address}'{extra}"
    return f"""
        CREATE STREAM numbers (id BIGINT, kind BIGINT) WITH ({at}, topic = 'numbers');
        CREATE MATERIALIZED VIEW doubled AS SELECT id, kind, id * 2 AS twice FROM numbers;
        CREATE MATERIALIZED VIEW kinds AS SELECT kind, count(*) AS events, sum(id) AS total FROM numbers GROUP BY kind;
        CREATE SINK out FROM doubled WITH ({at}, topic = 'doubled', key = 'id', commit_interval = '200 ms');
    """


def run(platform, text):
    with platform.connect() as connection:
        for statement in filter(str.strip, text.split(";")):
            connection.execute(statement)


def totals(platform):
    with platform.connect() as connection:
        return connection.execute("SELECT coalesce(sum(events), 0), coalesce(sum(total), 0) FROM kinds").fetchone()


def check_once(address, numbers):
    found = read_all(address, "doubled", len(numbers))
    ids = sorted(value["id"] for _, value in found)
    assert ids == sorted(numbers), f"{len(ids)} events, {len(set(ids))} different, of {len(numbers)}"
    assert all(value["twice"] == 2 * value["id"] and key == str(value["id"]).encode() for key, value in found)


@pytest.fixture
def queue(request, platform):
    """A queue elsewhere: an Apache Kafka or a Pluvio of its own, with address, kill and start."""
    if request.param == "pluvio":
        return platform(arguments=("--role", "queue"))
    return request.getfixturevalue("apache_kafka")


@pytest.mark.parametrize("queue", ["pluvio", "kafka"], indirect=True)
def test_reads_and_writes_exactly_once_while_both_sides_are_killed(queue, platform):
    make_topics(queue.kafka, "numbers", "doubled")
    engine = platform(arguments=("--role", "engine"))
    run(engine, pipeline(queue.kafka))
    # What an aborted transaction wrote is nobody's.
    produce(queue.kafka, "numbers", range(10_000_000, 10_000_100), "aborted").abort_transaction(30)

    halfway, going_on = threading.Event(), threading.Event()

    def feed():
        for start in range(0, EVENTS, 1000):
            if start == EVENTS * 3 // 4:
                halfway.set()
                going_on.wait(120)
            produce(queue.kafka, "numbers", range(start, start + 1000))

    feeding = threading.Thread(target=feed)
    feeding.start()
    for round in range(3):
        until("more events", lambda: totals(engine)[0] > round * EVENTS // 5, 60)
        engine.kill()
        engine.start()
    # In the middle of it: what comes now finds no cluster for a while.
    until("half of the events", lambda: totals(engine)[0] > EVENTS // 2, 60)
    halfway.wait(60)
    queue.kill()
    going_on.set()
    time.sleep(1)
    queue.start()
    feeding.join(120)
    assert not feeding.is_alive()
    expected = (EVENTS, sum(range(EVENTS)))
    until("all events counted", lambda: tuple(map(int, totals(engine))) == expected, 90)
    check_once(queue.kafka, range(EVENTS))
    assert tuple(map(int, totals(engine))) == expected
    with engine.connect() as connection:
        assert connection.execute("SELECT count(*), sum(id) FROM numbers").fetchone() == expected
        jobs = connection.execute("SELECT name, state, lag_events, error FROM pluvio.jobs ORDER BY name").fetchall()
    assert all(state == "running" and error is None for _, state, _, error in jobs), jobs


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_reads_and_writes_an_encrypted_cluster_that_asks_who_it_is(platform, tmp_path, monkeypatch, mechanism):
    keys = authority(tmp_path / "certificates")
    certificate(keys, "server", "/CN=localhost")
    (keys / "both.pem").write_text((keys / "server.key").read_text() + (keys / "server.pem").read_text())
    defaults = Kafka(tmp_path / "unused").defaults()
    queue = Kafka(tmp_path / "kafka", {
        "listener.security.protocol.map": f"{defaults['listener.security.protocol.map']},SASL_PLAINTEXT:SASL_SSL",
        "ssl.keystore.type": "PEM", "ssl.keystore.location": keys / "both.pem",
    }, users={"engine": "engine-secret"})
    queue.start()
    try:
        make_topics(queue.kafka, "numbers", "doubled")
        produce(queue.kafka, "numbers", range(1000))
        monkeypatch.setenv("QUEUE_PASSWORD", "engine-secret")
        engine = platform(arguments=("--role", "engine"))
        secure = {"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism, "sasl.username": "engine",
                  "sasl.password": "env:QUEUE_PASSWORD", "ssl.ca.location": keys / "ca.pem"}
        run(engine, pipeline(queue.sasl, **secure))
        until("all events counted", lambda: int(totals(engine)[0]) == 1000, 60)
        check_once(queue.kafka, range(1000))
        with engine.connect() as connection:
            with pytest.raises(Exception, match="(?i)certificate|unknown.?issuer|trust"):
                connection.execute(f"CREATE STREAM untrusted (id BIGINT) WITH (connector = 'kafka', brokers = '{queue.sasl}', "
                                   "topic = 'numbers', 'security.protocol' = 'SSL')")
                connection.execute("SELECT count(*) FROM untrusted").fetchone()
    finally:
        queue.kill()


def test_a_cluster_that_is_away_is_told_and_waited_for(platform):
    queue = platform(arguments=("--role", "queue"))
    make_topics(queue.kafka, "numbers", "doubled")
    produce(queue.kafka, "numbers", range(100))
    queue.kill()
    engine = platform(arguments=("--role", "engine"))
    run(engine, pipeline(queue.kafka))

    def state():
        with engine.connect() as connection:
            return connection.execute("SELECT state, error FROM pluvio.jobs WHERE name = 'kinds'").fetchone()

    until("the job says why it waits", lambda: state()[0] == "waiting" and queue.kafka in (state()[1] or ""), 30)
    queue.start()
    until("all events counted", lambda: int(totals(engine)[0]) == 100, 60)
    assert state() == ("running", None)


def test_wrong_options_are_told_with_the_way_out(platform):
    engine = platform()
    stream = "CREATE STREAM s (id BIGINT) WITH ({})"
    wrong = {
        "connector = 'rabbit'": "there are 'kafka', 'files', 'lines', 'generator'",
        "connector = 'kafka'": "needs brokers",
        "brokers = 'a:1'": "go with connector = 'kafka'",
        "connector = 'kafka', brokers = 'nowhere'": "host:port",
        "connector = 'kafka', brokers = 'a:1', partitions = 3": "is not ours",
        "connector = 'kafka', brokers = 'a:1', 'security.protocol' = 'SASL_SSL'": "sasl.username",
        "connector = 'kafka', brokers = 'a:1', 'security.protocol' = 'SASL_SSL', 'sasl.username' = 'u', "
        "'sasl.password' = 'secret'": "env:NAME",
    }
    with engine.connect() as connection:
        for options, expected in wrong.items():
            with pytest.raises(Exception, match=expected.replace("'", ".")):
                connection.execute(stream.format(options))
