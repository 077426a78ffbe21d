"""Consumer groups as clients use them: both protocols, static members, members that are killed, a broker that is.

What is specific to groups; the suites of the single clients (client_suite.py) hold each library to the simple cases.
"""

import asyncio
import signal
import subprocess
import sys
import textwrap

import aiokafka
import kafka
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from harness import until
from kafka_client import create_topic, send_all

VALUES = [b"%d" % i for i in range(1_200)]
PROTOCOLS = ["consumer", "classic"]


class Member:
    """A consumer that keeps what it read and what was assigned to it and taken from it."""

    def __init__(self, address, protocol, topics=("t",), **more):
        options = {
            "bootstrap.servers": address, "group.id": "g", "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "group.protocol": protocol, "topic.metadata.refresh.interval.ms": 1_000,
        }
        if protocol == "classic":
            options |= {"partition.assignment.strategy": "cooperative-sticky",
                        "session.timeout.ms": 6_000, "heartbeat.interval.ms": 500}
        self.consumer = Consumer(options | more)
        self.read, self.taken = [], set()
        self.consumer.subscribe(list(topics), on_revoke=self.revoked, on_lost=self.revoked)

    def revoked(self, consumer, partitions):
        self.taken |= {p.partition for p in partitions}

    def poll(self):
        for message in self.consumer.consume(500, timeout=0.1):
            assert message.error() is None, message.error()
            self.read.append(message)

    def commit(self):
        # By chance all may have gone to the partitions of others; then there is nothing to commit.
        if self.read:
            self.consumer.commit(asynchronous=False)

    @property
    def partitions(self):
        return sorted((p.topic, p.partition) for p in self.consumer.assignment())


def poll_until(what, members, ask, seconds=60):
    def once():
        for member in members:
            member.poll()
        return ask()

    until(what, once, seconds)


def share(members, topics, sizes):
    """Polls until the members have partitions as many as `sizes`, all of `topics` among them."""
    whole = sorted((topic, n) for topic, count in topics.items() for n in range(count))

    def shared():
        each = [m.partitions for m in members]
        return sorted(sum(each, [])) == whole and sorted(map(len, each)) == sorted(sizes)

    poll_until(f"the members have {sizes} partitions", members, shared)


def values(*members):
    return sorted(int(message.value()) for m in members for message in m.read)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_members_come_and_go_and_nothing_is_lost(broker, protocol):
    create_topic(broker.kafka, "t", partitions=6)
    first = Member(broker.kafka, protocol)
    share([first], {"t": 6}, [6])
    second = Member(broker.kafka, protocol)
    share([first, second], {"t": 6}, [3, 3])
    assert len(first.taken) == 3, "only what moved was taken away"
    third = Member(broker.kafka, protocol)
    share([first, second, third], {"t": 6}, [2, 2, 2])
    send_all(broker.kafka, "t", VALUES)
    members = [first, second, third]
    poll_until("all is read", members, lambda: len(values(*members)) >= len(VALUES))
    assert values(*members) == sorted(map(int, VALUES))
    for member in members:
        member.commit()
    third.consumer.close()
    share([first, second], {"t": 6}, [3, 3])
    # Who takes over begins where the other ended.
    send_all(broker.kafka, "t", [b"5000"])
    poll_until("the new one is read", [first, second], lambda: 5000 in values(first, second))
    assert len(values(*members)) == len(VALUES) + 1
    first.consumer.close()
    second.consumer.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_static_member_that_restarts_disturbs_nobody(broker, protocol):
    create_topic(broker.kafka, "t", partitions=4)
    members = [Member(broker.kafka, protocol, **{"group.instance.id": f"i{n}"}) for n in range(2)]
    share(members, {"t": 4}, [2, 2])
    had = members[1].partitions
    members[0].taken.clear()
    members[1].consumer.close()
    members[1] = Member(broker.kafka, protocol, **{"group.instance.id": "i1"})
    share(members, {"t": 4}, [2, 2])
    assert members[1].partitions == had and members[0].taken == set()
    for member in members:
        member.consumer.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pattern_finds_new_topics_and_new_partitions_are_shared(broker, protocol):
    create_topic(broker.kafka, "t-1", partitions=2)
    create_topic(broker.kafka, "other", partitions=2)
    members = [Member(broker.kafka, protocol, ["^t-.*"]) for _ in range(2)]
    share(members, {"t-1": 2}, [1, 1])
    create_topic(broker.kafka, "t-2", partitions=4)
    share(members, {"t-1": 2, "t-2": 4}, [3, 3])
    for member in members:
        member.consumer.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_group_is_shown_and_changes_its_protocol_when_empty(broker, protocol):
    create_topic(broker.kafka, "t", partitions=2)
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    for protocol in (protocol, PROTOCOLS[1 - PROTOCOLS.index(protocol)]):
        member = Member(broker.kafka, protocol)
        share([member], {"t": 2}, [2])
        listed = {g.group_id: g.type.name for g in admin.list_consumer_groups().result(30).valid}
        assert listed["g"] == protocol.upper()
        send_all(broker.kafka, "t", VALUES[:50])
        poll_until("all is read", [member], lambda: len(member.read) >= 50)
        assert len(member.read) == 50, "what the other protocol's members committed holds"
        member.commit()
        member.consumer.close()


def test_a_killed_member_is_given_up(broker):
    create_topic(broker.kafka, "t", partitions=4)
    program = textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[1])
        from test_groups import Member
        member = Member(sys.argv[2], "classic")
        while True:
            member.poll()
            if len(member.partitions) == 2:
                print("ready", flush=True)
    """)
    first = Member(broker.kafka, "classic")
    share([first], {"t": 4}, [4])
    folder = __file__.rsplit("/", 1)[0]
    killed = subprocess.Popen([sys.executable, "-c", program, folder, broker.kafka], stdout=subprocess.PIPE)
    poll_until("both have two", [first], lambda: len(first.partitions) == 2)
    assert killed.stdout.readline() == b"ready\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    share([first], {"t": 4}, [4])
    first.consumer.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_members_go_on_after_a_kill_of_the_broker(platform, protocol):
    p = platform()
    create_topic(p.kafka, "t", partitions=4)
    members = [Member(p.kafka, protocol) for _ in range(2)]
    share(members, {"t": 4}, [2, 2])
    had = [member.partitions for member in members]
    send_all(p.kafka, "t", VALUES[:300])
    poll_until("all is read", members, lambda: len(values(*members)) == 300)
    for member in members:
        member.commit()
    send_all(p.kafka, "t", VALUES[300:600])
    poll_until("more is read, and not committed", members, lambda: len(values(*members)) == 600)
    for member in members:
        member.taken.clear()
    p.kill()
    p.start()
    send_all(p.kafka, "t", VALUES[600:])

    def on(member):
        for message in member.consumer.consume(500, timeout=0.1):
            if message.error() is None:
                member.read.append(message)

    for member in members:
        member.poll = lambda member=member: on(member)
    poll_until("the rest is read", members, lambda: len(values(*members)) >= len(VALUES))
    assert values(*members) == sorted(map(int, VALUES)), "nothing is read twice, also of what was not committed"
    assert [member.partitions for member in members] == had
    assert not any(member.taken for member in members), "nobody lost anything, not even for a moment"
    for member in members:
        member.commit()
        member.consumer.close()


def test_kafka_python_and_aiokafka_share_a_group(broker):
    create_topic(broker.kafka, "t", partitions=4)
    send_all(broker.kafka, "t", VALUES)

    async def both():
        one = aiokafka.AIOKafkaConsumer("t", bootstrap_servers=broker.kafka, group_id="g", auto_offset_reset="earliest",
                                        enable_auto_commit=False, heartbeat_interval_ms=300)
        await one.start()
        other = kafka.KafkaConsumer("t", bootstrap_servers=broker.kafka, group_id="g", auto_offset_reset="earliest",
                                    enable_auto_commit=False, heartbeat_interval_ms=300,
                                    partition_assignment_strategy=[kafka.coordinator.assignors.roundrobin.RoundRobinPartitionAssignor])
        read = {}
        try:
            for _ in range(600):
                for messages in (await one.getmany(timeout_ms=50)).values():
                    read |= {(m.partition, m.offset): m.value for m in messages}
                polled = await asyncio.to_thread(other.poll, 50)
                for messages in polled.values():
                    read |= {(m.partition, m.offset): m.value for m in messages}
                if len(read) == len(VALUES) and len(one.assignment()) == len(other.assignment()) == 2:
                    return read
            raise AssertionError(f"{len(read)} read, {one.assignment()} and {other.assignment()} assigned")
        finally:
            other.close()
            await one.stop()

    assert sorted(map(int, asyncio.run(both()).values())) == sorted(map(int, VALUES))


def test_many_idle_partitions_and_one_that_speaks(broker):
    """kafka-python fetches in sessions: what is new in one of many partitions comes at once."""
    patience = 30 if getattr(broker, "name", None) == "kafka" else 4
    create_topic(broker.kafka, "t", partitions=300)
    consumer = kafka.KafkaConsumer(bootstrap_servers=broker.kafka, fetch_max_wait_ms=5_000)
    consumer.assign([kafka.TopicPartition("t", n) for n in range(300)])
    consumer.seek_to_beginning()
    consumer.poll(timeout_ms=500)
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    for n, value in enumerate(VALUES[:20]):
        send_all(broker.kafka, "t", [value])
        found = []
        until("it came", lambda found=found: found.extend(sum(consumer.poll(timeout_ms=1_000).values(), [])) or found, patience)
        assert [m.value for m in found] == [value]
    ends = admin.list_offsets({TopicPartition("t", n): OffsetSpec.max_timestamp() for n in range(300)})
    assert sum(f.result(30).offset >= 0 for f in ends.values()) >= 1
    consumer.close()
