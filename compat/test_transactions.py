"""Transactions, by outside clients: seen whole or not at all, by those who read committed records.

confluent-kafka (librdkafka) writes, aborts, reads and moves offsets within transactions. The tests that name `broker`
run the same against a real Apache Kafka with --broker kafka. In the last one the process is killed again and again
while records are carried from one topic to another: each arrives exactly once.
"""

import collections
import json
import random
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from harness import Tail, until
from kafka_client import create_topic

PATIENCE_SECONDS = 60


def make_topics(address, **topics):
    for name, partitions in topics.items():
        create_topic(address, name, partitions)


def transactional(address, name, **more):
    # With re-bootstrapping, librdkafka 2.12 forgets the broker when it is gone for a moment, but not that it coordinates
    # the group: sending offsets then waits for it for ever.
    producer = Producer({
        "bootstrap.servers": address, "transactional.id": name, "linger.ms": 2, "transaction.timeout.ms": 60_000,
        "message.timeout.ms": 50_000, "retry.backoff.ms": 20, "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 10_000, "metadata.recovery.strategy": "none",
        "log_level": 0, **more,
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


class Carrier:
    """Carries numbers from `source` to `target`, a transaction at a time, through whatever happens to the broker."""

    def __init__(self, address, seed):
        self.address, self.random = address, random.Random(seed)
        self.commits = self.aborts = self.restarts = 0

    def run(self, stop):
        while not stop.is_set():
            try:
                self.carry(stop)
            except KafkaException as error:
                # Fenced or fatal: what a program does then is start anew.
                self.restarts += 1
                self.last = error
                time.sleep(0.05)

    def carry(self, stop):
        producer, consumer = transactional(self.address, "carrier"), reader(self.address, "carriers")
        consumer.subscribe(["source"])
        try:
            while not stop.is_set():
                messages = [m for m in consumer.consume(self.random.randrange(1, 200), 0.2) if not m.error()]
                if messages:
                    self.move(producer, consumer, messages)
        finally:
            consumer.close()

    def move(self, producer, consumer, messages):
        producer.begin_transaction()
        try:
            for message in messages:
                producer.produce("target", message.value(), partition=message.partition())
            positions = {}
            for message in messages:
                positions[message.partition()] = message.offset() + 1
            offsets = [TopicPartition("source", partition, offset) for partition, offset in positions.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), PATIENCE_SECONDS)
            if self.random.random() < 0.2:
                raise KafkaException(KafkaError(KafkaError._APPLICATION, "given up on purpose"))
            self.commit(producer)
            self.commits += 1
        except KafkaException:
            producer.abort_transaction(PATIENCE_SECONDS)
            self.aborts += 1
            # The records are to be read again, from what is committed.
            for position in consumer.committed(consumer.assignment(), PATIENCE_SECONDS):
                consumer.seek(TopicPartition(position.topic, position.partition, max(position.offset, 0)))

    @staticmethod
    def commit(producer):
        """A commit that may be tried again is tried again: it must not be taken for an abort."""
        while True:
            try:
                return producer.commit_transaction(PATIENCE_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise


def test_exactly_once_through_kills(platform, seed, request):
    """kill -9 in the middle of transactions: every number arrives once, in the order of its partition."""
    kills = min(request.config.getoption("--kills"), 15)
    one, partitions, numbers = platform(), 3, 6_000
    make_topics(one.kafka, source=partitions, target=partitions)
    plain = Producer({"bootstrap.servers": one.kafka, "enable.idempotence": True, "message.timeout.ms": 120_000})
    for number in range(numbers):
        plain.produce("source", json.dumps(number).encode(), partition=number % partitions)
    plain.flush(PATIENCE_SECONDS)
    carrier = Carrier(one.kafka, seed)
    work, chance = Tail(carrier.run), random.Random(seed)
    for _ in range(kills):
        done = carrier.commits
        until("a transaction is committed", lambda done=done: carrier.commits > done or arrived(one) >= numbers, 90)
        time.sleep(chance.random() * 0.3)
        one.kill()
        one.start()
    until("all are carried", lambda: arrived(one) >= numbers, 120, 0.5)
    work.finish()
    print(f"{carrier.commits} commits, {carrier.aborts} aborts, {carrier.restarts} new starts, {kills} kills")
    carried = read_all(one.kafka, "target", partitions)
    for partition, values in enumerate(carried):
        assert [int(value) for value in values] == list(range(partition, numbers, partitions))
    assert carrier.commits > 0 and carrier.aborts > 0


def arrived(platform):
    """How many numbers the group has committed as carried."""
    # One that does not wait for what a transaction has yet to decide.
    consumer = reader(platform.kafka, "carriers", "read_uncommitted")
    try:
        parts = [TopicPartition("source", partition) for partition in range(3)]
        return sum(max(part.offset, 0) for part in consumer.committed(parts, 5))
    except KafkaException:
        return 0
    finally:
        consumer.close()
