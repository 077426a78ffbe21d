"""aiokafka: kafka-python's asyncio cousin, with a record format in C of its own."""

import asyncio
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, for_code
from aiokafka.structs import OffsetAndMetadata

from .base import Client, ClientError, Member, Record, Transactional

STRATEGIES = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}


def record_of(message):
    return Record(message.key, message.value, tuple(message.headers), message.timestamp, message.partition, message.offset)


def check(code):
    """Raises what a broker's error code stands for."""
    if code:
        raise for_code(code)()


async def send(producer, topic, records):
    sent = [await producer.send(topic, r.value, r.key, r.partition, r.timestamp, list(r.headers) or None) for r in records]
    await producer.flush()
    for each in sent:
        await each


class Aio(Client):
    name = "aiokafka"
    strategies = tuple(STRATEGIES)

    def __init__(self, address):
        super().__init__(address)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.admin = self.run(self.started(AIOKafkaAdminClient, bootstrap_servers=address))

    async def started(self, kind, *arguments, **options):
        """One of the library's objects, made within the loop and started."""
        made = kind(*arguments, **options)
        try:
            await made.start()
        except BaseException:
            await (made.close() if kind is AIOKafkaAdminClient else made.stop())
            raise
        return made

    def run(self, work):
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(self.SECONDS + 5)
        except KafkaError as error:
            raise ClientError(f"{type(error).__name__}: {error}") from error
        except TimeoutError as error:
            future.cancel()
            raise ClientError(f"nothing within {self.SECONDS} s") from error

    def close(self):
        super().close()
        self.run(self.admin.close())
        self.loop.call_soon_threadsafe(self.loop.stop)

    def produce(self, topic, records, compression="none", acks="all", idempotent=False, small_batches=False):
        async def work():
            producer = await self.started(
                AIOKafkaProducer, bootstrap_servers=self.address, enable_idempotence=idempotent, linger_ms=5,
                compression_type=None if compression == "none" else compression,
                acks=acks if acks == "all" else int(acks), max_batch_size=300 if small_batches else 65_536)
            try:
                await send(producer, topic, records)
            finally:
                await producer.stop()

        self.run(work())

    def read(self, topic, count, starts, committed=False):
        async def work():
            consumer = await self.started(
                AIOKafkaConsumer, bootstrap_servers=self.address, enable_auto_commit=False,
                isolation_level="read_committed" if committed else "read_uncommitted")
            try:
                consumer.assign([TopicPartition(topic, p) for p in starts])
                for partition, offset in starts.items():
                    consumer.seek(TopicPartition(topic, partition), offset)
                found = []
                while len(found) < count:
                    for part in (await consumer.getmany(timeout_ms=100)).values():
                        found.extend(record_of(m) for m in part)
                return found
            finally:
                await consumer.stop()

        return self.run(work())

    def offsets(self, topic, at):
        async def work(partitions):
            consumer = await self.started(AIOKafkaConsumer, bootstrap_servers=self.address)
            try:
                if at == "earliest":
                    found = await consumer.beginning_offsets(partitions)
                elif at == "latest":
                    found = await consumer.end_offsets(partitions)
                else:
                    found = await consumer.offsets_for_times({p: at for p in partitions})
                    found = {p: -1 if each is None else each.offset for p, each in found.items()}
                return {p.partition: offset for p, offset in found.items()}
            finally:
                await consumer.stop()

        return self.run(work([TopicPartition(topic, p) for p in range(self.topics()[topic])]))

    def join(self, group, topics, strategy=None, static=None):
        more = {"partition_assignment_strategy": (STRATEGIES[strategy],)} if strategy else {}
        return self.keep(AioMember(self, topics, dict(
            bootstrap_servers=self.address, group_id=group, group_instance_id=static, auto_offset_reset="earliest",
            enable_auto_commit=False, heartbeat_interval_ms=300, session_timeout_ms=10_000, **more)))

    def committed(self, group, topic):
        found = self.run(self.admin.list_consumer_group_offsets(group))
        return {t.partition: (o.offset, o.metadata) for t, o in found.items() if t.topic == topic and o.offset >= 0}

    def transaction(self, transactional_id):
        return AioTransactional(self, transactional_id)

    def create_topic(self, topic, partitions, config=None):
        made = NewTopic(name=topic, num_partitions=partitions, replication_factor=1, topic_configs=config or {})

        async def work():
            for answer in (await self.admin.create_topics([made])).topic_errors:
                check(answer[1])

        self.run(work())

    def delete_topic(self, topic):
        async def work():
            for answer in (await self.admin.delete_topics([topic])).topic_error_codes:
                check(answer[1])

        self.run(work())

    def create_partitions(self, topic, total):
        async def work():
            for answer in (await self.admin.create_partitions({topic: NewPartitions(total)})).topic_errors:
                check(answer[1])

        self.run(work())

    def topics(self):
        return {t["topic"]: len(t["partitions"]) for t in self.run(self.admin.describe_topics())}

    def config(self, topic):
        async def work():
            resource = ConfigResource(ConfigResourceType.TOPIC, topic)
            (answer,) = await self.admin.describe_configs([resource])
            (found,) = answer.resources
            check(found[0])
            return {entry[0]: entry[1] for entry in found[4]}

        return self.run(work())

    def alter_config(self, topic, settings):
        async def work():
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings)
            for answer in await self.admin.alter_configs([resource]):
                for each in answer.resources:
                    check(each[0])

        self.run(work())

    def groups(self):
        return [name for name, _ in self.run(self.admin.list_consumer_groups())]

    def group(self, group):
        ((answer,),) = [a.groups for a in self.run(self.admin.describe_consumer_groups([group]))]
        return answer[2].lower(), len(answer[5])

    delete_group = None

    def truncate(self, topic, before):
        self.run(self.admin.delete_records({TopicPartition(topic, p): RecordsToDelete(o) for p, o in before.items()}))


class AioMember(Member, ConsumerRebalanceListener):
    def __init__(self, client, topics, options):
        self.client, self.got, self.count = client, [], 0

        async def work():
            # A subscription of the constructor would miss the first assignment's event.
            consumer = await client.started(AIOKafkaConsumer, **options)
            consumer.subscribe(topics, listener=self)
            return consumer, asyncio.create_task(self.consume(consumer))

        self.consumer, self.task = client.run(work())

    async def on_partitions_revoked(self, revoked):
        pass

    async def on_partitions_assigned(self, assigned):
        self.count += bool(assigned)

    async def consume(self, consumer):
        self.positions = {}
        while True:
            for where, part in (await consumer.getmany(timeout_ms=100)).items():
                self.got.extend(record_of(m) for m in part)
                self.positions[where] = part[-1].offset + 1

    def check(self):
        if self.task.done():
            raise ClientError(f"the consumer ended: {self.task.exception()!r}")

    def assignment(self):
        self.check()
        return {(t.topic, t.partition) for t in self.consumer.assignment()}

    def rebalances(self):
        return self.count

    def records(self):
        self.check()
        return list(self.got)

    def taken(self, metadata=""):
        owned = self.consumer.assignment()
        return {t: OffsetAndMetadata(offset, metadata) for t, offset in self.positions.items() if t in owned}

    def commit(self, metadata=""):
        self.client.run(self.consumer.commit(self.taken(metadata)))

    def leave(self):
        async def work():
            self.task.cancel()
            await asyncio.wait([self.task])
            await self.consumer.stop()

        self.client.run(work())


class AioTransactional(Transactional):
    def __init__(self, client, transactional_id):
        self.client = client
        self.producer = client.run(client.started(
            AIOKafkaProducer, bootstrap_servers=client.address, transactional_id=transactional_id))

    def begin(self):
        self.client.run(self.producer.begin_transaction())

    def send(self, topic, records):
        self.client.run(send(self.producer, topic, records))

    def send_offsets(self, member):
        self.client.run(self.producer.send_offsets_to_transaction(member.taken(), member.consumer._group_id))

    def end(self, commit):
        self.client.run(self.producer.commit_transaction() if commit else self.producer.abort_transaction())
