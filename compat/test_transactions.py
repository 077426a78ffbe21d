"""Transactions, by outside clients: seen whole or not at all, by those who read committed records.

confluent-kafka (librdkafka) writes, aborts, reads and moves offsets within transactions. The same runs against a real
Apache Kafka with --broker kafka.
"""

import collections
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from harness import until
from kafka_client import create_topic

PATIENCE_SECONDS = 60


def make_topics(address, **topics):
    for name, partitions in topics.items():
        create_topic(address, name, partitions)


def transactional(address, name, **more):
    producer = Producer({
        "bootstrap.servers": address, "transactional.id": name, "linger.ms": 2, "transaction.timeout.ms": 60_000,
        "message.timeout.ms": 50_000, "retry.backoff.ms": 20, "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 10_000, "log_level": 0, **more,
    })
    producer.init_transactions(PATIENCE_SECONDS)
    return producer


def reader(address, group, isolation="read_committed", **more):
    return Consumer({
        "bootstrap.servers": address, "group.id": group, "isolation.level": isolation, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "enable.partition.eof": True, "session.timeout.ms": 10_000,
        "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "log_level": 0, **more,
    })


def read_all(address, topic, partitions=1, isolation="read_committed"):
    """The values of each partition, up to where a reader of this isolation finds the end."""
    consumer = reader(address, "nobody", isolation)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    values, ended = collections.defaultdict(list), set()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(ended) < partitions:
        assert time.monotonic() < deadline, f"no end of {topic} after {PATIENCE_SECONDS} s"
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
        else:
            values[message.partition()].append(message.value().decode())
    consumer.close()
    return [values[partition] for partition in range(partitions)]


def committed_offset(address, group, topic):
    consumer = reader(address, group)
    offset = consumer.committed([TopicPartition(topic, 0)], PATIENCE_SECONDS)[0].offset
    consumer.close()
    return offset


def write(producer, topic, values, partition=0):
    for value in values:
        producer.produce(topic, str(value).encode(), partition=partition)
    producer.flush(PATIENCE_SECONDS)


def test_committed_is_seen_and_aborted_is_not(broker):
    make_topics(broker.kafka, rain=2)
    producer = transactional(broker.kafka, "tx")
    for number in range(12):
        producer.begin_transaction()
        write(producer, "rain", [f"{number}-{i}" for i in range(100)], partition=number % 2)
        if number % 3 == 0:
            producer.abort_transaction(PATIENCE_SECONDS)
        else:
            producer.commit_transaction(PATIENCE_SECONDS)
    producer.begin_transaction()
    write(producer, "rain", ["open"])
    expected = [[f"{number}-{i}" for number in range(12) if number % 2 == part and number % 3 for i in range(100)]
                for part in range(2)]
    assert read_all(broker.kafka, "rain", 2) == expected
    uncommitted = read_all(broker.kafka, "rain", 2, "read_uncommitted")
    assert [len(values) for values in uncommitted] == [601, 600]
    producer.abort_transaction(PATIENCE_SECONDS)
    assert read_all(broker.kafka, "rain", 2) == expected


def test_a_reader_gets_a_transaction_when_it_ends(broker):
    make_topics(broker.kafka, rain=1)
    producer, consumer = transactional(broker.kafka, "tx"), reader(broker.kafka, "waiting")
    consumer.assign([TopicPartition("rain", 0, 0)])
    producer.begin_transaction()
    write(producer, "rain", ["a", "b"])

    def poll(seconds):
        message = consumer.poll(seconds)
        return None if message is None or message.error() else message.value().decode()

    assert poll(0.5) is None and poll(0.5) is None
    producer.commit_transaction(PATIENCE_SECONDS)
    until("the first record comes", lambda: poll(1.0) == "a")
    until("the second record comes", lambda: poll(1.0) == "b")
    consumer.close()


def test_an_older_instance_is_fenced(broker):
    make_topics(broker.kafka, rain=1)
    old = transactional(broker.kafka, "tx")
    old.begin_transaction()
    write(old, "rain", ["lost"])
    new = transactional(broker.kafka, "tx")
    with pytest.raises(KafkaException) as fenced:
        old.commit_transaction(PATIENCE_SECONDS)
    assert fenced.value.args[0].fatal()
    new.begin_transaction()
    write(new, "rain", ["kept"])
    new.commit_transaction(PATIENCE_SECONDS)
    assert read_all(broker.kafka, "rain") == [["kept"]]


def test_offsets_move_with_the_records(broker):
    make_topics(broker.kafka, source=1, target=1)
    plain = Producer({"bootstrap.servers": broker.kafka})
    write(plain, "source", range(60))
    for keep in [True, False, True]:
        # A new instance each time, which begins where the last committed transaction ended.
        producer, consumer = transactional(broker.kafka, "carrier"), reader(broker.kafka, "carriers")
        consumer.subscribe(["source"])
        before = committed_offset(broker.kafka, "carriers", "source")
        producer.begin_transaction()
        for message in consumer.consume(20, PATIENCE_SECONDS):
            producer.produce("target", message.value())
        positions = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), PATIENCE_SECONDS)
        if keep:
            producer.commit_transaction(PATIENCE_SECONDS)
        else:
            producer.abort_transaction(PATIENCE_SECONDS)
            assert committed_offset(broker.kafka, "carriers", "source") == before
        consumer.close()
    assert read_all(broker.kafka, "target") == [[str(i) for i in range(40)]]
    assert committed_offset(broker.kafka, "carriers", "source") == 40
