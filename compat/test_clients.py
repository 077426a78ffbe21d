"""Unmodified Kafka clients: confluent-kafka (librdkafka), kafka-python and kcat (an older librdkafka)."""

import subprocess
import time

import kafka
import pytest
from client_suite import AT
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from harness import until
from kafka.admin import KafkaAdminClient
from kafka.admin import NewTopic as KafkaPythonTopic
from kafka_client import create_topic, partitions_of, read_all, send_all

COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]
VALUES = [f'{{"n":{i},"text":"the same words again and again"}}'.encode() for i in range(2_000)]


def numbers(messages):
    return sorted(m.value() for m in messages)


def test_confluent_creates_describes_and_deletes_topics(platform):
    p = platform()
    create_topic(p.kafka, "orders", partitions=3)
    assert partitions_of(p.kafka, "orders") == 3
    admin = AdminClient({"bootstrap.servers": p.kafka})
    with pytest.raises(Exception, match="TOPIC_ALREADY_EXISTS"):
        create_topic(p.kafka, "orders", partitions=3)
    admin.delete_topics(["orders"])["orders"].result(30)
    until("the topic is gone", lambda: "orders" not in admin.list_topics(timeout=10).topics, 10)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_confluent_every_compression_comes_back_as_sent(platform, compression):
    p = platform()
    create_topic(p.kafka, "t", partitions=2)
    send_all(p.kafka, "t", VALUES, compression_type=compression)
    assert numbers(read_all(p.kafka, "t")) == sorted(VALUES)


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_confluent_every_level_of_acks(platform, acks):
    p = platform()
    create_topic(p.kafka, "t")
    producer = Producer({"bootstrap.servers": p.kafka, "acks": acks, "linger.ms": 5})
    for value in VALUES:
        producer.produce("t", value)
    assert producer.flush(30) == 0
    # acks=0 is not answered, so the records may still be on their way.
    until("all records are there", lambda: len(read_all(p.kafka, "t")) == len(VALUES), 20)
    assert numbers(read_all(p.kafka, "t")) == sorted(VALUES)


def test_confluent_idempotent_keeps_order_keys_headers_and_timestamps(platform):
    p = platform()
    create_topic(p.kafka, "t")
    producer = Producer({"bootstrap.servers": p.kafka, "enable.idempotence": True, "linger.ms": 1, "batch.num.messages": 50})
    at = AT
    for i in range(1_000):
        producer.produce("t", f"{i}", key=f"k{i % 7}", headers=[("n", f"{i}".encode()), ("n", b"again"), ("empty", None)], timestamp=at + i)
    producer.produce("t", None, key="tombstone")
    assert producer.flush(30) == 0
    messages = read_all(p.kafka, "t")
    assert [m.offset() for m in messages] == list(range(1_001))
    assert [m.value() for m in messages[:-1]] == [f"{i}".encode() for i in range(1_000)]
    assert messages[17].key() == b"k3" and messages[17].timestamp()[1] == at + 17
    assert messages[17].headers() == [("n", b"17"), ("n", b"again"), ("empty", None)]
    assert messages[-1].key() == b"tombstone" and messages[-1].value() is None


def test_confluent_offsets_by_timestamp_and_watermarks(platform):
    p = platform()
    create_topic(p.kafka, "t")
    producer = Producer({"bootstrap.servers": p.kafka})
    at = AT
    for i in range(500):
        producer.produce("t", f"{i}", timestamp=at + 1_000 * i, partition=0)
    producer.flush(30)
    consumer = Consumer({"bootstrap.servers": p.kafka, "group.id": "g"})
    assert consumer.get_watermark_offsets(TopicPartition("t", 0), timeout=10) == (0, 500)
    found = consumer.offsets_for_times([TopicPartition("t", 0, at + 250_500)], timeout=10)
    assert found[0].offset == 251
    consumer.close()


def consumer_of(address, group, topics, **more):
    consumer = Consumer({
        "bootstrap.servers": address, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "session.timeout.ms": 6_000, "heartbeat.interval.ms": 500, **more,
    })
    consumer.subscribe(topics)
    return consumer


def take(consumer, messages, seconds=0.5):
    """Polls for a while; appends what came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for message in consumer.consume(500, timeout=0.1):
            assert message.error() is None, message.error()
            messages.append(message)


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_confluent_group_rebalances_and_loses_nothing(platform, strategy):
    p = platform()
    create_topic(p.kafka, "t", partitions=4)
    options = {"partition.assignment.strategy": strategy}
    first, second = [], []
    a = consumer_of(p.kafka, "g", ["t"], **options)
    until("the first consumer has all partitions", lambda: take(a, first, 0.2) or len(a.assignment()) == 4, 30)
    b = consumer_of(p.kafka, "g", ["t"], **options)

    def shared():
        take(a, first, 0.2)
        take(b, second, 0.2)
        return len(a.assignment()) == 2 and len(b.assignment()) == 2

    until("both have two partitions", shared, 30)
    owned = {(t.topic, t.partition) for t in a.assignment() + b.assignment()}
    assert owned == {("t", n) for n in range(4)}
    for n in range(4):
        send_all(p.kafka, "t", VALUES[n::4], partition=n)

    def everything():
        take(a, first, 0.2)
        take(b, second, 0.2)
        return len(first) + len(second) >= len(VALUES)

    until("all records are consumed", everything, 30)
    assert numbers(first + second) == sorted(VALUES)
    assert first and second, "both consumers got some"
    b.close()
    until("the first has all partitions again", lambda: take(a, first, 0.2) or len(a.assignment()) == 4, 30)
    a.close()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_confluent_group_resumes_after_a_restart_of_the_broker(platform, how):
    p = platform()
    create_topic(p.kafka, "t", partitions=2)
    send_all(p.kafka, "t", VALUES[:1_000])
    before = []
    consumer = consumer_of(p.kafka, "g", ["t"])
    until("some are consumed", lambda: take(consumer, before, 0.2) or len(before) >= 500, 30)
    consumer.commit(asynchronous=False)
    consumer.close()
    getattr(p, how)()
    p.start()
    send_all(p.kafka, "t", VALUES[1_000:])
    after = []
    consumer = consumer_of(p.kafka, "g", ["t"])
    until("the rest is consumed", lambda: take(consumer, after, 0.2) or len(before) + len(after) >= len(VALUES), 30)
    consumer.close()
    assert numbers(before + after) == sorted(VALUES), "each record was consumed exactly once"


def test_confluent_a_waiting_consumer_survives_a_kill_of_the_broker(platform):
    p = platform()
    create_topic(p.kafka, "t")
    got = []
    consumer = consumer_of(p.kafka, "g", ["t"])
    send_all(p.kafka, "t", VALUES[:100])
    until("the first records", lambda: take(consumer, got, 0.2) or len(got) == 100, 30)
    p.kill()
    p.start()
    send_all(p.kafka, "t", VALUES[100:200])

    def rest():
        for message in consumer.consume(500, timeout=0.2):
            if message.error() is None:
                got.append(message)
        return len({m.value() for m in got}) == 200

    until("the records after the restart", rest, 60)
    consumer.close()


def test_confluent_error_for_an_unknown_partition_and_a_bad_name(platform):
    p = platform()
    create_topic(p.kafka, "t")
    with pytest.raises(Exception, match="INVALID|_UNKNOWN_PARTITION|TOPIC_EXCEPTION"):
        create_topic(p.kafka, "no spaces allowed")
    errors = []
    producer = Producer({"bootstrap.servers": p.kafka, "message.timeout.ms": 5_000})
    producer.produce("t", "x", partition=7, on_delivery=lambda e, m: errors.append(e.code()))
    producer.flush(20)
    assert errors == [KafkaError._UNKNOWN_PARTITION]


def kafka_python_producer(p, **options):
    return kafka.KafkaProducer(bootstrap_servers=p.kafka, **options)


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_kafka_python_every_compression(platform, compression):
    p = platform()
    admin = KafkaAdminClient(bootstrap_servers=p.kafka)
    admin.create_topics([KafkaPythonTopic("t", 2, 1)])
    producer = kafka_python_producer(p, compression_type=compression, acks="all")
    futures = [producer.send("t", value) for value in VALUES]
    producer.flush(30)
    assert all(f.get(10).offset >= 0 for f in futures)
    consumer = kafka.KafkaConsumer("t", bootstrap_servers=p.kafka, auto_offset_reset="earliest", consumer_timeout_ms=3_000)
    assert sorted(m.value for m in consumer) == sorted(VALUES)
    consumer.close()
    producer.close()
    admin.close()


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_kafka_python_every_level_of_acks(platform, acks):
    p = platform()
    create_topic(p.kafka, "t")
    producer = kafka_python_producer(p, acks=acks, enable_idempotence=acks == "all")
    for value in VALUES:
        producer.send("t", value)
    producer.flush(30)
    until("all records are there", lambda: len(read_all(p.kafka, "t")) == len(VALUES), 20)
    producer.close()
    assert numbers(read_all(p.kafka, "t")) == sorted(VALUES)


def test_kafka_python_group_rebalances_commits_and_resumes(platform):
    p = platform()
    create_topic(p.kafka, "t", partitions=4)
    send_all(p.kafka, "t", VALUES[:1_000])

    def consumer():
        return kafka.KafkaConsumer("t", bootstrap_servers=p.kafka, group_id="g", auto_offset_reset="earliest",
                                   enable_auto_commit=False, session_timeout_ms=6_000, heartbeat_interval_ms=500)

    def poll(one, into):
        for records in one.poll(timeout_ms=200).values():
            into.extend(r.value for r in records)

    got = []
    a = consumer()
    until("the first half is consumed", lambda: poll(a, got) or len(got) >= 1_000, 30)
    a.commit()
    b = consumer()

    def shared():
        poll(a, got)
        poll(b, got)
        return len(a.assignment()) == 2 and len(b.assignment()) == 2

    until("both have two partitions", shared, 40)
    a.close()
    b.close()
    p.kill()
    p.start()
    send_all(p.kafka, "t", VALUES[1_000:])
    c = consumer()
    until("the rest is consumed", lambda: poll(c, got) or len(got) >= len(VALUES), 30)
    c.close()
    assert sorted(got) == sorted(VALUES)


def kcat(p, *arguments, input=None):
    done = subprocess.run(["kcat", "-b", p.kafka, *arguments], input=input, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_kcat_lists_produces_and_consumes(platform):
    p = platform()
    create_topic(p.kafka, "t", partitions=3)
    listing = kcat(p, "-L").decode()
    assert 'topic "t" with 3 partitions' in listing
    for compression in COMPRESSIONS:
        kcat(p, "-P", "-t", "t", "-z", compression, "-X", "acks=all", input=b"\n".join(VALUES))
    lines = kcat(p, "-C", "-t", "t", "-o", "beginning", "-e", "-q").splitlines()
    assert sorted(lines) == sorted(VALUES * len(COMPRESSIONS))


def test_kcat_group_consumer_resumes(platform):
    p = platform()
    create_topic(p.kafka, "t", partitions=2)
    kcat(p, "-P", "-t", "t", input=b"\n".join(VALUES[:1_000]))
    group = ["-e", "-q", "-X", "auto.offset.reset=earliest", "-G", "g", "t"]
    first = kcat(p, *group).splitlines()
    kcat(p, "-P", "-t", "t", input=b"\n".join(VALUES[1_000:]))
    second = kcat(p, *group).splitlines()
    assert sorted(first) == sorted(VALUES[:1_000])
    assert sorted(second) == sorted(VALUES[1_000:])


def test_kcat_reads_from_one_time_to_another(platform):
    p = platform()
    create_topic(p.kafka, "t")
    producer = Producer({"bootstrap.servers": p.kafka})
    for i in range(100):
        producer.produce("t", f"{i}", timestamp=AT + i)
    producer.flush(30)
    lines = kcat(p, "-C", "-t", "t", "-o", f"s@{AT + 40}", "-o", f"e@{AT + 50}", "-q").split()
    assert lines == [b"%d" % i for i in range(40, 50)]


def test_kcat_makes_a_topic_by_writing_to_it(platform):
    p = platform()
    kcat(p, "-P", "-t", "new", input=b"hello\n")
    assert kcat(p, "-C", "-t", "new", "-o", "beginning", "-e", "-q") == b"hello\n"


def test_own_commands_work_with_the_same_topics(platform):
    p = platform()
    where = ["--bootstrap", p.kafka]
    p.cli("topic", "create", "t", "--partitions", "2", *where)
    assert "t" in p.cli("topic", "list", *where).stdout.split()
    p.cli("produce", "t", *where, input="one\ntwo\n")
    kcat(p, "-P", "-t", "t", input=b"three\n")
    assert numbers(read_all(p.kafka, "t")) == [b"one", b"three", b"two"]
    lines = p.cli("consume", "t", "--from-beginning", "--count", "3", *where).stdout.split()
    assert sorted(lines) == ["one", "three", "two"]
    p.cli("topic", "delete", "t", *where)
    assert "t" not in p.cli("topic", "list", *where).stdout.split()
