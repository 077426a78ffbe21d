"""confluent-kafka (librdkafka), kafka-python and aiokafka, held to the suite of all clients."""

import pytest
from client_suite import ClientSuite, records, tell_apart
from clients.aio import Aio
from clients.base import ClientError
from clients.confluent import Confluent
from clients.kafka_python import KafkaPython
from confluent_kafka import Consumer, TopicPartition
from harness import until


class TestConfluent(ClientSuite):
    kind = Confluent

    def test_the_newer_of_two_static_members_of_one_name_stays(self, connect):
        client = connect()
        client.create_topic("t", 2)
        first = client.join("g", ["t"], static="one")
        until("the first has it all", lambda: len(first.assignment()) == 2)
        second = client.join("g", ["t"], static="one")
        until("the second has it all", lambda: len(second.assignment()) == 2)
        until("the first is told", lambda: first.error)
        with pytest.raises(ClientError, match="fenced by other consumer"):
            first.assignment()
        client.produce("t", records(20))
        until("the second reads", lambda: len(second.records()) == 20)
        second.commit()

    def test_a_group_takes_up_new_partitions(self, connect):
        client = connect()
        client.create_topic("t", 2)
        member = client.join("g", ["t"], **{"topic.metadata.refresh.interval.ms": 200})
        until("it has both partitions", lambda: len(member.assignment()) == 2)
        client.create_partitions("t", 5)
        until("it has all partitions", lambda: len(member.assignment()) == 5)
        client.produce("t", records(50) + [r for p in range(5) for r in records(10, 50 + 10 * p, partition=p)])
        until("it reads them all", lambda: len(member.records()) == 100)

    def test_commits_without_being_a_member(self, connect):
        client = connect()
        client.create_topic("t", 2)
        alone = Consumer({"bootstrap.servers": client.address, "group.id": "alone", "enable.auto.commit": False})
        for offset, metadata in ((3, "three"), (7, "seven")):
            alone.assign([TopicPartition("t", 1)])
            alone.commit(offsets=[TopicPartition("t", 1, offset, metadata)], asynchronous=False)
            assert client.committed("alone", "t") == {1: (offset, metadata)}
        alone.close()
        assert client.group("alone") == ("empty", 0)

    def test_a_transaction_left_alone_is_aborted(self, connect):
        client = connect()
        client.create_topic("t", 1)
        transactional = client.transaction("tx", **{"transaction.timeout.ms": 1_000, "message.timeout.ms": 1_000})
        transactional.begin()
        transactional.send("t", records(5))
        client.produce("t", records(5, 10))
        # The broker looks for such transactions every few seconds.
        assert tell_apart(client.read("t", 5, {0: 0}, committed=True)) == [10, 11, 12, 13, 14]
        with pytest.raises(ClientError):
            transactional.end(commit=True)


class TestKafkaPython(ClientSuite):
    kind = KafkaPython


class TestAio(ClientSuite):
    kind = Aio
