"""confluent-kafka, that is librdkafka."""

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec,
)

from .base import Client, ClientError, PollingMember, Record, Transactional, take


def record_of(message):
    if message.error() is not None:
        raise KafkaException(message.error())
    headers = tuple((name, value) for name, value in message.headers() or ())
    return Record(message.key(), message.value(), headers, message.timestamp()[1], message.partition(), message.offset())


def send(producer, topic, records, seconds):
    """Queues the records and waits until each has been acknowledged."""
    failed = []
    for record in records:
        more = {"partition": record.partition} if record.partition is not None else {}
        if record.timestamp is not None:
            more["timestamp"] = record.timestamp
        producer.produce(topic, record.value, record.key, headers=list(record.headers) or None,
                         on_delivery=lambda error, _: error and failed.append(error), **more)
        producer.poll(0)
    if producer.flush(seconds):
        raise ClientError(f"records were not acknowledged within {seconds} s")
    if failed:
        raise ClientError(f"{len(failed)} records failed, the first with {failed[0]}")


def guarded(call, *arguments, **options):
    """The result of the call; a failure as ClientError."""
    try:
        return call(*arguments, **options)
    except KafkaException as error:
        raise ClientError(str(error)) from error


class Confluent(Client):
    name = "confluent"
    strategies = ("range", "roundrobin", "cooperative-sticky", "server")

    def __init__(self, address):
        super().__init__(address)
        self.common = {"bootstrap.servers": address, "allow.auto.create.topics": False}
        self.admin = AdminClient({"bootstrap.servers": address})

    def producer(self, **options):
        return Producer({"bootstrap.servers": self.address, "linger.ms": 5, "partitioner": "murmur2_random",
                         "message.timeout.ms": 30_000, **options})

    def produce(self, topic, records, compression="none", acks="all", idempotent=False, small_batches=False):
        options = {"compression.type": compression, "acks": acks, "enable.idempotence": idempotent}
        if small_batches:
            options["batch.num.messages"] = 7
        send(self.producer(**options), topic, records, self.SECONDS)

    def read(self, topic, count, starts, committed=False):
        consumer = Consumer({**self.common, "group.id": "reads-without-commits", "enable.auto.commit": False,
                             "isolation.level": "read_committed" if committed else "read_uncommitted"})
        try:
            consumer.assign([TopicPartition(topic, p, offset) for p, offset in starts.items()])
            return take(count, lambda: [record_of(m) for m in consumer.consume(1_000, 0.1)], self.SECONDS)
        finally:
            consumer.close()

    def offsets(self, topic, at):
        spec = {"earliest": OffsetSpec.earliest(), "latest": OffsetSpec.latest()}.get(at)
        spec = spec or OffsetSpec.for_timestamp(at)
        asked = {TopicPartition(topic, p): spec for p in range(self.topics()[topic])}
        found = self.admin.list_offsets(asked)
        return {t.partition: guarded(future.result, 30).offset for t, future in found.items()}

    def join(self, group, topics, strategy=None, static=None, **options):
        more = {"group.instance.id": static} if static else {}
        if strategy == "server":
            more["group.protocol"] = "consumer"
        else:
            more |= {"heartbeat.interval.ms": 300, "session.timeout.ms": 10_000}
            more |= {"partition.assignment.strategy": strategy} if strategy else {}
        consumer = Consumer({
            **self.common, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
            "enable.auto.offset.store": False, **more, **options,
        })
        return self.keep(ConfluentMember(consumer, topics))

    def committed(self, group, topic):
        found = guarded(self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result, 30)
        return {t.partition: (t.offset, t.metadata or "") for t in found.topic_partitions
                if t.topic == topic and t.offset >= 0}

    def transaction(self, transactional_id, **options):
        return ConfluentTransactional(self, self.producer(**{"transactional.id": transactional_id, **options}))

    def create_topic(self, topic, partitions, config=None):
        guarded(self.admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result, 30)

    def delete_topic(self, topic):
        guarded(self.admin.delete_topics([topic])[topic].result, 30)

    def create_partitions(self, topic, total):
        guarded(self.admin.create_partitions([NewPartitions(topic, total)])[topic].result, 30)

    def topics(self):
        return {name: len(t.partitions) for name, t in self.admin.list_topics(timeout=30).topics.items()}

    def config(self, topic):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return {e.name: e.value for e in guarded(self.admin.describe_configs([resource])[resource].result, 30).values()}

    def alter_config(self, topic, settings):
        entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()]
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        guarded(self.admin.incremental_alter_configs([resource])[resource].result, 30)

    def groups(self):
        return [g.group_id for g in guarded(self.admin.list_consumer_groups().result, 30).valid]

    def group(self, group):
        found = guarded(self.admin.describe_consumer_groups([group])[group].result, 30)
        return found.state.name.lower().replace("_", ""), len(found.members)

    def delete_group(self, group):
        guarded(self.admin.delete_consumer_groups([group])[group].result, 30)

    def truncate(self, topic, before):
        asked = [TopicPartition(topic, p, offset) for p, offset in before.items()]
        for future in self.admin.delete_records(asked).values():
            guarded(future.result, 30)


class ConfluentMember(PollingMember):
    def __init__(self, consumer, topics):
        consumer.subscribe(topics, on_assign=self.on_assign)
        super().__init__(consumer)

    def on_assign(self, _, partitions):
        self.count += bool(partitions)

    def poll(self):
        found = []
        for message in self.consumer.consume(1_000, 0.1):
            # Told of as events, retried by the library itself.
            if message.error() and message.error().code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                continue
            found.append((message.topic(), record_of(message)))
        return found

    def owns(self):
        return {(t.topic, t.partition) for t in self.consumer.assignment()}

    def taken(self, metadata=""):
        """What it was given of the partitions it owns."""
        return [TopicPartition(t, p, offset, metadata) for (t, p), offset in self.positions.items() if (t, p) in self.owned]

    def commit(self, metadata=""):
        def work():
            for each in self.consumer.commit(offsets=self.taken(metadata), asynchronous=False):
                if each.error:
                    raise KafkaException(each.error)

        self.ask(work)


class ConfluentTransactional(Transactional):
    def __init__(self, client, producer):
        self.client, self.producer = client, producer
        guarded(producer.init_transactions, 30)

    def begin(self):
        guarded(self.producer.begin_transaction)

    def send(self, topic, records):
        guarded(send, self.producer, topic, records, self.client.SECONDS)

    def send_offsets(self, member):
        metadata = member.ask(member.consumer.consumer_group_metadata)
        guarded(self.producer.send_offsets_to_transaction, member.taken(), metadata, 30)

    def end(self, commit):
        guarded(self.producer.commit_transaction if commit else self.producer.abort_transaction, 30)
