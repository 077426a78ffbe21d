"""What every client must see of a broker, written against `clients.base`; a test file per client inherits it.

A test that a library cannot express (kafkajs knows no static members) is not made for it, and its class says so.
"""

import random
import time

import kafka_client
import pytest
from clients.base import ClientError, Record
from harness import Pluvio, until
from kafka_oracle import Kafka

#: A day ago: what is older than a topic's retention may go at any time.
AT = (int(time.time()) - 86_400) * 1_000
TEXT = b"the same words again and again "


def records(count, start=0, partition=None, **more):
    return [Record(b"key-%d" % (i % 17), b"%d " % i + TEXT * (i % 5), (), AT + i, partition, **more)
            for i in range(start, start + count)]


def contents(found):
    return sorted((r.content for r in found), key=repr)


def tell_apart(found):
    """The numbers that `records` gave the values."""
    return sorted(int(r.value.split()[0]) for r in found)


def random_record(random):
    """Empty, missing, small and large parts; names of headers are repeated only side by side, as kafkajs keeps them."""

    def content(longest, least=0):
        kind = random.randrange(least, 4)
        return None if kind == 0 else b"" if kind == 1 else random.randbytes(random.randint(1, longest))

    headers = []
    for name in random.sample(["trace", "ünïcode", "a.b-c", "x" * 40], random.randrange(4)):
        headers += [(name, content(50) or b"")] * random.randint(1, 2)
    key = content(40)
    # A record without both is refused by some libraries.
    value = content(random.choice([20, 3_000]), least=1 if key is None else 0)
    return Record(key, value, tuple(headers), AT + random.randrange(-10**8, 10**7))


class Produces:
    """Records as they were sent, whatever the settings of the producer."""

    def every_compression(self, client):
        """Those of the library: large batches of an ordinary producer, small ones of an idempotent one."""
        client.create_topic("t", 1)
        sent = []
        for compression in client.compressions:
            for small in (False, True):
                some = records(60, len(sent))
                client.produce("t", some, compression, idempotent=small, small_batches=small)
                sent += some
        return sent

    def test_every_compression_large_and_small_batches_and_idempotence(self, connect):
        client = connect()
        sent = self.every_compression(client)
        found = client.read("t", len(sent), {0: 0})
        assert [r.content for r in found] == [r.content for r in sent]
        assert [r.offset for r in found] == list(range(len(sent)))

    def test_acks_of_one_and_of_none(self, connect):
        client = connect()
        client.create_topic("t", 1)
        client.produce("t", records(50), acks="1")
        client.produce("t", records(50, 50), acks="0")
        assert tell_apart(client.read("t", 100, {0: 0})) == list(range(100))

    def test_headers_keys_values_and_timestamps_byte_for_byte(self, connect, seed):
        client, rng = connect(), random.Random(seed)
        client.create_topic("t", 1)
        sent = [random_record(rng) for _ in range(200)]
        client.produce("t", sent)
        assert [r.content for r in client.read("t", len(sent), {0: 0})] == [r.content for r in sent]

    def test_a_record_of_almost_a_megabyte(self, connect):
        client = connect()
        client.create_topic("t", 1)
        large = Record(b"large", random.Random(1).randbytes(900_000), (), AT)
        client.produce("t", [large])
        assert client.read("t", 1, {0: 0})[0].content == large.content

    def test_equal_keys_go_where_pluvio_itself_puts_them(self, connect):
        client = connect()
        keys = ["", *(f"{'k' * (i % 9)}é{i * 7919}" for i in range(300))]
        for topic in ("theirs", "ours"):
            client.create_topic(topic, 7)
        client.produce("theirs", [Record(key.encode(), b"v", (), AT) for key in keys])
        lines = "".join(f"{key}|v\n" for key in keys)
        Pluvio.cli("produce", "ours", "--bootstrap", client.address, "--key-separator", "|", input=lines)
        starts = {partition: 0 for partition in range(7)}
        theirs, ours = ({r.key: r.partition for r in client.read(t, len(keys), starts)} for t in ("theirs", "ours"))
        assert len(theirs) == len(keys) and len(set(theirs.values())) == 7
        assert {k for k in ours if theirs[k] != ours[k]} == set()


class Reads:
    """From the beginning, from an offset, from a time."""

    def test_reads_from_an_offset_in_the_middle_of_a_batch(self, connect):
        client = connect()
        client.create_topic("t", 2)
        client.produce("t", records(100, partition=0) + records(100, 100, partition=1))
        found = client.read("t", 63, {0: 37})
        assert [(r.partition, r.offset) for r in found] == [(0, offset) for offset in range(37, 100)]
        assert tell_apart(client.read("t", 101, {0: 99, 1: 0})) == list(range(99, 200))

    def test_finds_offsets_by_time(self, connect):
        client = connect()
        client.create_topic("t", 2)
        client.produce("t", records(100, partition=0), small_batches=True)
        client.produce("t", records(50, 200, partition=1))
        assert client.offsets("t", "earliest") == {0: 0, 1: 0}
        assert client.offsets("t", "latest") == {0: 100, 1: 50}
        assert client.offsets("t", AT + 42) == {0: 42, 1: 0}
        assert client.offsets("t", AT - 5) == {0: 0, 1: 0}
        late = client.offsets("t", AT + 210)
        assert late[1] == 10 and late[0] in (-1, 100)
        start = client.offsets("t", AT + 90)
        assert [r.offset for r in client.read("t", 10, {0: start[0]})] == list(range(90, 100))


class Administers:
    """Topics, their settings, groups."""

    def test_makes_changes_and_deletes_topics(self, connect):
        client = connect()
        client.create_topic("orders", 3, {"retention.ms": "3600000"})
        until("the topic has 3 partitions", lambda: client.topics().get("orders") == 3, 10)
        with pytest.raises(ClientError):
            client.create_topic("orders", 3)
        client.create_partitions("orders", 5)
        until("the topic has 5 partitions", lambda: client.topics().get("orders") == 5, 10)
        with pytest.raises(ClientError):
            client.create_partitions("orders", 4)
        client.produce("orders", records(1, partition=4))
        assert client.read("orders", 1, {4: 0})[0].partition == 4
        client.delete_topic("orders")
        until("the topic is gone", lambda: "orders" not in client.topics(), 10)
        with pytest.raises(ClientError):
            client.delete_topic("orders")

    def test_reads_and_changes_settings(self, connect):
        client = connect()
        client.create_topic("t", 1, {"retention.ms": "3600000"})
        before = client.config("t")
        assert before["retention.ms"] == "3600000"
        assert before["cleanup.policy"] == "delete" and int(before["max.message.bytes"]) > 900_000
        client.alter_config("t", {"retention.ms": "7200000", "segment.bytes": "67108864"})
        changed = ("7200000", "67108864")
        until("the change is told", lambda: tuple(map(client.config("t").get, ("retention.ms", "segment.bytes"))) == changed, 10)
        with pytest.raises(ClientError):
            client.alter_config("t", {"retention.ms": "a while"})

    def test_deletes_records(self, connect):
        client = connect()
        client.create_topic("t", 2)
        client.produce("t", records(100, partition=0) + records(20, 100, partition=1))
        client.truncate("t", {0: 60})
        assert client.offsets("t", "earliest") == {0: 60, 1: 0}
        assert [r.offset for r in client.read("t", 40, {0: 60})] == list(range(60, 100))


class Groups:
    """Members come and go; what is committed is where the next one goes on."""

    def test_members_come_and_go(self, connect, strategy):
        client = connect()
        client.create_topic("t", 6)
        client.produce("t", records(300))
        first = client.join("g", ["t"], strategy)
        until("one member has it all", lambda: len(first.assignment()) == 6 and len(first.records()) == 300)
        first.commit("first")
        second = client.join("g", ["t"], strategy)
        until("two members share", lambda: len(first.assignment()) == 3 == len(second.assignment()))
        assert first.assignment() | second.assignment() == {("t", p) for p in range(6)}
        client.produce("t", records(300, 300))
        until("both have read", lambda: len(first.records()) + len(second.records()) >= 600)
        first.commit("first")
        second.commit("second")
        assert tell_apart(first.records() + second.records()) == list(range(600)), "each record once"
        assert len(second.records()) > 50 < len(first.records()) - 300
        assert client.group("g") == ("stable", 2)
        assert "g" in client.groups()
        first.leave()
        until("the second has it all", lambda: len(second.assignment()) == 6)
        client.produce("t", records(100, 600))
        until("the second has all", lambda: set(tell_apart(second.records())) >= set(range(600, 700)))
        second.commit("at the end")
        second.leave()
        self.goes_on_where_the_group_was(client)

    def goes_on_where_the_group_was(self, client):
        committed = client.committed("g", "t")
        assert {p: offset for p, (offset, _) in committed.items()} == client.offsets("t", "latest")
        assert {metadata for _, metadata in committed.values()} == {"at the end"}
        client.produce("t", records(60, 700))
        third = client.join("g", ["t"])
        until("the third reads what is new", lambda: len(third.records()) >= 60)
        assert tell_apart(third.records()) == list(range(700, 760))
        third.leave()
        until("the group is empty", lambda: client.group("g") == ("empty", 0), 30)
        if client.delete_group:
            client.delete_group("g")
            assert "g" not in client.groups() and client.committed("g", "t") == {}

    def test_static_members_keep_their_place(self, connect):
        client = connect()
        if not client.static_members:
            pytest.skip(f"{client.name} has no static members")
        client.create_topic("t", 4)
        first, second = (client.join("g", ["t"], static=name) for name in ("one", "two"))
        until("two members share", lambda: len(first.assignment()) == 2 == len(second.assignment()))
        owned, rebalances = second.assignment(), first.rebalances()
        second.leave()
        again = client.join("g", ["t"], static="two")
        until("it is back in its place", lambda: again.assignment() == owned)
        client.produce("t", records(40))
        until("both read", lambda: len(first.records()) + len(again.records()) == 40)
        assert first.rebalances() == rebalances, "nobody else was disturbed"
        first.leave()
        again.leave()


class Transacts:
    """Transactions: what is aborted is not read by who asks for committed records only."""

    def test_commits_and_aborts(self, connect):
        client = connect()
        client.create_topic("t", 2)
        transactional = client.transaction("tx")
        for n, commit in enumerate([True, False, True, False, False, True]):
            transactional.begin()
            transactional.send("t", [r for p in (0, 1) for r in records(10, n * 20 + p * 10, partition=p)])
            transactional.end(commit)
        transactional.close()
        client.produce("t", records(1, 1_000, partition=0) + records(1, 1_001, partition=1))
        kept = [n * 20 + i for n in (0, 2, 5) for i in range(20)]
        found = client.read("t", 62, {0: 0, 1: 0}, committed=True)
        assert tell_apart(found) == [*kept, 1_000, 1_001]
        everything = client.read("t", 122, {0: 0, 1: 0})
        assert tell_apart(everything) == [*range(120), 1_000, 1_001]
        assert client.offsets("t", "latest") == {0: 67, 1: 67}, "each end takes an offset"

    def test_an_open_transaction_holds_back_what_is_after_it(self, connect):
        client = connect()
        client.create_topic("t", 1)
        client.produce("t", records(3))
        transactional = client.transaction("tx")
        transactional.begin()
        transactional.send("t", records(3, 10))
        client.produce("t", records(3, 20))
        assert tell_apart(client.read("t", 9, {0: 0})) == [0, 1, 2, 10, 11, 12, 20, 21, 22]
        assert tell_apart(client.read("t", 3, {0: 0}, committed=True)) == [0, 1, 2]
        client.SECONDS = 2
        with pytest.raises(ClientError):
            client.read("t", 4, {0: 0}, committed=True)
        client.SECONDS = 30
        transactional.end(commit=True)
        transactional.close()
        assert tell_apart(client.read("t", 9, {0: 0}, committed=True)) == [0, 1, 2, 10, 11, 12, 20, 21, 22]

    def test_offsets_are_part_of_a_transaction(self, connect):
        client = connect()
        for topic in ("in", "out"):
            client.create_topic(topic, 1)
        client.produce("in", records(10))
        member, transactional = client.consuming_transaction("g", "in", 10, "tx")
        for commit, expected in ((False, {}), (True, {0: 10})):
            transactional.begin()
            transactional.send("out", records(10))
            transactional.send_offsets(member)
            transactional.end(commit)
            # Apache Kafka answers before the offsets are seen.
            until(f"{expected} is committed",
                  lambda: {p: offset for p, (offset, _) in client.committed("g", "in").items()} == expected, 10)
        member.leave()
        transactional.close()
        assert tell_apart(client.read("out", 10, {0: 0}, committed=True)) == list(range(10))
        assert client.read("out", 10, {0: 0}, committed=True)[0].offset == 11

    def test_a_second_producer_fences_the_first(self, connect):
        client = connect()
        client.create_topic("t", 1)
        first = client.transaction("tx")
        first.begin()
        first.send("t", records(5))
        second = client.transaction("tx")
        second.begin()
        second.send("t", records(5, 100))
        with pytest.raises(ClientError):
            first.send("t", records(5, 50))
            first.end(commit=True)
        second.end(commit=True)
        first.close()
        second.close()
        assert tell_apart(client.read("t", 5, {0: 0}, committed=True)) == list(range(100, 105))


class ClientSuite(Produces, Reads, Administers, Groups, Transacts):
    """All of it. A test class sets `kind`, the client's class; `connect()` makes a client of a fresh broker."""

    kind = None

    @pytest.fixture
    def connect(self, broker):
        made = []

        def connect():
            client = self.kind(broker.kafka)
            made.append(client)
            if isinstance(broker, Kafka):
                # It acknowledges a topic before its partitions have a leader.
                create = client.create_topic
                client.create_topic = lambda topic, *more: (create(topic, *more), kafka_client.wait_for_topic(broker.kafka, topic))
            return client

        yield connect
        for client in made:
            client.close()
