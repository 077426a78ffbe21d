"""Small helpers around confluent-kafka: a producer that knows what was acknowledged, topics, reading a topic whole."""

import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from harness import until

PARTITION_EOF = -191


def patient_producer(address, on_error):
    """A producer that loses and repeats nothing, and waits minutes for a broker that is killed again and again."""
    return Producer({
        "bootstrap.servers": address, "enable.idempotence": True, "acks": "all", "linger.ms": 5, "log_level": 0,
        "message.timeout.ms": 300_000, "retry.backoff.ms": 50, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 250,
        "socket.timeout.ms": 10_000, "error_cb": on_error,
    })


class Acknowledged:
    """A producer that keeps the ids whose delivery was confirmed and those that failed."""

    def __init__(self, address, **options):
        config = {"bootstrap.servers": address, "acks": "all", "linger.ms": 5, "socket.nagle.disable": True}
        self.producer = Producer({**config, **{k.replace("_", "."): v for k, v in options.items()}})
        self.acknowledged = {}
        self.failed = {}

    def send(self, topic, identity, value, key=None, partition=-1, headers=None):
        """Queues one record; `identity` is how the test knows it."""

        def delivered(error, message):
            if error is None:
                self.acknowledged[identity] = (message.partition(), message.offset())
            else:
                self.failed[identity] = error

        while True:
            try:
                self.producer.produce(topic, value, key=key, partition=partition, headers=headers, on_delivery=delivered)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def flush(self, seconds=60):
        left = self.producer.flush(seconds)
        assert left == 0, f"{left} records are still neither acknowledged nor refused after {seconds} s"


def send_all(address, topic, values, partition=-1, **options):
    """Produces the values; all of them must be acknowledged. (partition, offset) of each, in order."""
    producer = Acknowledged(address, **options)
    for i, value in enumerate(values):
        producer.send(topic, i, value, partition=partition)
    producer.flush()
    assert not producer.failed, f"refused: {list(producer.failed.items())[:3]}"
    return [producer.acknowledged[i] for i in range(len(values))]


def create_topic(address, name, partitions=1, **config):
    admin = AdminClient({"bootstrap.servers": address})
    for future in admin.create_topics([NewTopic(name, partitions, 1, config=config)]).values():
        future.result(30)


def wait_for_topic(address, topic):
    """Waits until all partitions can be written to."""
    admin = AdminClient({"bootstrap.servers": address})

    def served():
        found = admin.list_topics(topic, timeout=10).topics[topic]
        asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in found.partitions}
        answers = admin.list_offsets(asked).values() if asked else [None]
        return all(answer is not None and answer.exception(30) is None for answer in answers)

    until(f"the topic {topic} is served", served)


def delete_everything(address, seconds=60):
    """Deletes all groups and topics; a group whose members have not said goodbye when their session has ended."""
    admin = AdminClient({"bootstrap.servers": address})
    deadline = time.monotonic() + seconds
    while groups := [g.group_id for g in admin.list_consumer_groups().result(30).valid]:
        failures = [f.exception(30) for f in admin.delete_consumer_groups(groups).values()]
        assert time.monotonic() < deadline, f"groups are not deleted within {seconds} s: {failures}"
    while topics := [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")]:
        failures = [f.exception(30) for f in admin.delete_topics(topics).values()]
        assert time.monotonic() < deadline, f"topics are not deleted within {seconds} s: {failures}"


def partitions_of(address, topic):
    """How many partitions a topic has."""
    metadata = AdminClient({"bootstrap.servers": address}).list_topics(topic, timeout=10)
    return len(metadata.topics[topic].partitions)


def read_all(address, topic, seconds=60):
    """Every record from the beginning to the end of each partition, as confluent-kafka messages."""
    consumer = Consumer({
        "bootstrap.servers": address, "group.id": "reader-without-commits", "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "enable.partition.eof": True,
    })
    try:
        count = partitions_of(address, topic)
        consumer.assign([TopicPartition(topic, p, 0) for p in range(count)])
        messages, ended = [], set()
        waits = 0
        while len(ended) < count:
            batch = consumer.consume(10_000, timeout=1)
            waits = 0 if batch else waits + 1
            assert waits < seconds, f"{topic}: no end of the partition within {seconds} s"
            for message in batch:
                if message.error() is None:
                    messages.append(message)
                elif message.error().code() == PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise KafkaException(message.error())
        return messages
    finally:
        consumer.close()
