"""kafka-python: the protocol in pure Python."""

import kafka
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from .base import Client, ClientError, PollingMember, Record, Transactional, take

STRATEGIES = {
    "range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor,
    "cooperative-sticky": CooperativeStickyAssignor,
}


def record_of(message):
    return Record(message.key, message.value, tuple(message.headers), message.timestamp, message.partition, message.offset)


def guarded(call, *arguments, **options):
    try:
        return call(*arguments, **options)
    except (KafkaError, AssertionError) as error:
        raise ClientError(f"{type(error).__name__}: {error}") from error


def send(producer, topic, records, seconds):
    sent = [producer.send(topic, r.value, r.key, headers=list(r.headers), partition=r.partition, timestamp_ms=r.timestamp)
            for r in records]
    producer.flush(seconds)
    for each in sent:
        guarded(each.get, seconds)


class KafkaPython(Client):
    name = "kafka-python"
    strategies = tuple(STRATEGIES)

    def __init__(self, address):
        super().__init__(address)
        self.admin = KafkaAdminClient(bootstrap_servers=address)

    def close(self):
        super().close()
        self.admin.close()

    def produce(self, topic, records, compression="none", acks="all", idempotent=False, small_batches=False):
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.address, compression_type=None if compression == "none" else compression,
            acks=acks if acks == "all" else int(acks), enable_idempotence=idempotent, linger_ms=5,
            batch_size=300 if small_batches else 65_536)
        try:
            send(producer, topic, records, self.SECONDS)
        finally:
            producer.close()

    def read(self, topic, count, starts, committed=False):
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.address, enable_auto_commit=False, max_poll_records=10_000,
            isolation_level="read_committed" if committed else "read_uncommitted")
        try:
            consumer.assign([TopicPartition(topic, p) for p in starts])
            for partition, offset in starts.items():
                consumer.seek(TopicPartition(topic, partition), offset)
            def poll():
                return [record_of(m) for part in guarded(consumer.poll, 100).values() for m in part]

            return take(count, poll, self.SECONDS)
        finally:
            consumer.close()

    def offsets(self, topic, at):
        spec = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST}.get(at, at)
        asked = {TopicPartition(topic, p): spec for p in range(self.topics()[topic])}
        found = guarded(self.admin.list_partition_offsets, asked)
        return {t.partition: info.offset for t, info in found.items()}

    def join(self, group, topics, strategy=None, static=None):
        more = {"partition_assignment_strategy": (STRATEGIES[strategy],)} if strategy else {}
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.address, group_id=group, group_instance_id=static, auto_offset_reset="earliest",
            enable_auto_commit=False, heartbeat_interval_ms=300, session_timeout_ms=10_000, **more)
        return self.keep(KafkaPythonMember(consumer, topics))

    def committed(self, group, topic):
        found = guarded(self.admin.list_group_offsets, [group])
        found = found.get(group, found)
        return {t.partition: (o.offset, o.metadata) for t, o in found.items() if t.topic == topic and o.offset >= 0}

    def transaction(self, transactional_id):
        producer = kafka.KafkaProducer(bootstrap_servers=self.address, transactional_id=transactional_id, linger_ms=5)
        return KafkaPythonTransactional(self, producer)

    def create_topic(self, topic, partitions, config=None):
        guarded(self.admin.create_topics, [NewTopic(topic, partitions, 1, topic_configs=config or {})])

    def delete_topic(self, topic):
        guarded(self.admin.delete_topics, [topic])

    def create_partitions(self, topic, total):
        guarded(self.admin.create_partitions, {topic: NewPartitions(total)})

    def topics(self):
        return {t["name"]: len(t["partitions"]) for t in guarded(self.admin.describe_topics)}

    def config(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = guarded(self.admin.describe_configs, [resource], config_filter="all")
        (settings,) = [v for by_name in found.values() for v in by_name.values()]
        return {name: entry["value"] for name, entry in settings.items()}

    def alter_config(self, topic, settings):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, settings)
        for by_name in guarded(self.admin.alter_configs, [resource], incremental=True).values():
            if by_name[topic] != "OK":
                raise ClientError(by_name[topic])

    def groups(self):
        return [g["group_id"] for g in guarded(self.admin.list_groups)]

    def group(self, group):
        found = guarded(self.admin.describe_groups, [group])[group]
        return found["group_state"].lower(), len(found["members"])

    def delete_group(self, group):
        for outcome in guarded(self.admin.delete_groups, [group]).values():
            if outcome != "OK":
                raise ClientError(str(outcome))

    def truncate(self, topic, before):
        guarded(self.admin.delete_records, {TopicPartition(topic, p): offset for p, offset in before.items()})


class KafkaPythonMember(PollingMember, kafka.ConsumerRebalanceListener):
    def __init__(self, consumer, topics):
        consumer.subscribe(topics, listener=self)
        super().__init__(consumer)

    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        self.count += bool(assigned)

    def poll(self):
        # The library forgets an assignment that arrives when a poll has just ended without one.
        wait_ms = 300 if self.owned else 2_000
        return [(t.topic, record_of(m)) for t, messages in self.consumer.poll(wait_ms).items() for m in messages]

    def owns(self):
        return {(t.topic, t.partition) for t in self.consumer.assignment()}

    def taken(self, metadata=""):
        return {TopicPartition(t, p): OffsetAndMetadata(offset, metadata, -1)
                for (t, p), offset in self.positions.items() if (t, p) in self.owned}

    def commit(self, metadata=""):
        self.ask(lambda: self.consumer.commit(self.taken(metadata)))


class KafkaPythonTransactional(Transactional):
    def __init__(self, client, producer):
        self.client, self.producer = client, producer
        guarded(producer.init_transactions)

    def begin(self):
        guarded(self.producer.begin_transaction)

    def send(self, topic, records):
        guarded(send, self.producer, topic, records, self.client.SECONDS)

    def send_offsets(self, member):
        metadata = member.ask(member.consumer.group_metadata)
        guarded(self.producer.send_offsets_to_transaction, member.taken(), metadata)

    def end(self, commit):
        guarded(self.producer.commit_transaction if commit else self.producer.abort_transaction)

    def close(self):
        self.producer.close(0)
