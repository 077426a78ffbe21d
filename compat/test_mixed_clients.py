"""What one library writes is what every other reads, and members of different libraries make one group."""

import random
import subprocess

import pytest
from client_suite import AT, random_record, records, tell_apart
from clients.aio import Aio
from clients.base import Record
from clients.confluent import Confluent
from clients.franz import Franz
from clients.kafka_js import KafkaJs
from clients.kafka_python import KafkaPython
from harness import until

KINDS = [Confluent, KafkaPython, Aio, KafkaJs, Franz]


@pytest.fixture
def clients(broker):
    made = [kind(broker.kafka) for kind in KINDS]
    yield made
    for client in made:
        client.close()


def kcat_reads(address, topic, partition):
    """(key, value, timestamp) of all records: kcat writes lengths as numbers, -1 for what is missing."""
    done = subprocess.run(["kcat", "-b", address, "-C", "-t", topic, "-p", str(partition), "-o", "beginning", "-e", "-q",
                           "-f", "%T %K %S %k%s\n"], capture_output=True, timeout=60, check=True)
    rest, found = done.stdout, []
    while rest:
        timestamp, key_bytes, value_bytes, rest = rest.split(b" ", 3)
        parts = []
        for length in (int(key_bytes), int(value_bytes)):
            parts.append(rest[:max(length, 0)] if length >= 0 else None)
            rest = rest[max(length, 0):]
        assert rest[:1] == b"\n"
        rest = rest[1:]
        found.append((*parts, int(timestamp)))
    return found


def test_every_client_reads_what_every_client_wrote(clients, seed):
    rng = random.Random(seed)
    first = clients[0]
    first.create_topic("t", len(clients))
    written = []
    for partition, writer in enumerate(clients):
        written.append([])
        for compression in writer.compressions:
            for small_batches in (False, True):
                some = [random_record(rng)._replace(partition=partition) for _ in range(40)]
                writer.produce("t", some, compression, idempotent=small_batches, small_batches=small_batches)
                written[partition] += [r.content for r in some]
    for reader in clients:
        found = reader.read("t", sum(map(len, written)), {p: 0 for p in range(len(clients))})
        for partition, writer in enumerate(clients):
            got = [r.content for r in sorted(found, key=lambda r: r.offset) if r.partition == partition]
            assert got == written[partition], f"written by {writer.name}, read by {reader.name}"
    for partition, writer in enumerate(clients):
        expected = [(key, value, timestamp) for key, value, _, timestamp in written[partition]]
        assert kcat_reads(first.address, "t", partition) == expected, f"written by {writer.name}, read by kcat"


def test_every_client_reads_what_kcat_wrote(clients):
    clients[0].create_topic("t", 1)
    for compression in ("none", "gzip", "snappy", "lz4", "zstd"):
        subprocess.run(["kcat", "-b", clients[0].address, "-P", "-t", "t", "-K", "|", "-Z", "-H", "by=kcat", "-z", compression],
                       input=f"key|{compression}\nkey|\n".encode(), timeout=60, check=True)
    for reader in clients:
        found = [(r.key, r.value, r.headers) for r in reader.read("t", 10, {0: 0})]
        headers = (("by", b"kcat"),)
        assert found == [(b"key", value, headers) for compression in (b"none", b"gzip", b"snappy", b"lz4", b"zstd")
                         for value in (compression, None)], reader.name


def test_members_of_different_libraries_share_a_group(clients):
    clients[0].create_topic("t", 8)
    members = [client.join("g", ["t"], "range") for client in clients if "range" in client.strategies]
    until("all have two partitions", lambda: [len(m.assignment()) for m in members] == [2, 2, 2, 2])
    clients[-1].produce("t", records(400))
    until("everything is read", lambda: sum(len(m.records()) for m in members) >= 400)
    assert tell_apart(r for m in members for r in m.records()) == list(range(400))
    for member in members:
        member.commit()
    # Whoever made the assignment goes first.
    for gone in range(3):
        members[gone].leave()
        left = members[gone + 1:]
        until("the others share", lambda: sum(len(m.assignment()) for m in left) == 8)
    clients[0].produce("t", records(80, 400))
    until("the last reads on", lambda: set(range(400, 480)) <= set(tell_apart(members[3].records())))


def test_equal_keys_go_to_the_same_partition_whoever_writes(clients):
    keys = [f"{'k' * (i % 11)}ü{i * 104_729}".encode() for i in range(200)]
    placed = []
    for client in clients:
        client.create_topic(client.name, 13)
        client.produce(client.name, [Record(key, client.name.encode(), (), AT) for key in keys])
        found = clients[0].read(client.name, len(keys), {p: 0 for p in range(13)})
        placed.append({r.key: r.partition for r in found})
    for client, each in zip(clients, placed, strict=True):
        assert each == placed[0], client.name
