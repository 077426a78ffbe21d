"""Spark's and Flink's Kafka connectors, in programs of a page each: topics read and written, in batches and as streams."""

import base64
import json
import subprocess

import pytest
from client_suite import AT
from clients.base import Record
from clients.confluent import Confluent
from clients.prepared import java_program, tool

# What Spark needs of a Java that keeps its insides to itself.
OPENED = ["java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
          "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action",
          "sun.util.calendar"]


@pytest.fixture
def client(broker):
    made = Confluent(broker.kafka)
    yield made
    made.close()


def run_java(program, main_class, *arguments, options=()):
    """Runs it to its end; its standard output."""
    done = subprocess.run([tool("java", "default-jre-headless"), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx1g",
                           *options, "-cp", java_program(program), main_class, *map(str, arguments)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
    said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("\tat "))
    assert done.returncode == 0, f"{main_class} ended with {done.returncode}:\n{said[-6_000:]}"
    return done.stdout


def given(count):
    return [Record(b"key-%d" % (i % 7), None if i % 10 == 9 else b"value %d" % i, (("n", b"%d" % i),), AT + i, i % 2)
            for i in range(count)]


def from_spark(output, name):
    """The records that the job told under this name, in the order of partitions and offsets."""
    rows = [json.loads(line.split(" ", 1)[1]) for line in output.splitlines() if line.startswith(name + " ")]

    def decoded(text):
        return None if text is None else base64.b64decode(text)

    found = [Record(decoded(r.get("key")), decoded(r.get("value")),
                    tuple((h["key"], decoded(h.get("value"))) for h in r.get("headers", ())), r["at"], r["partition"],
                    r["offset"]) for r in rows]
    return sorted(found, key=lambda r: (r.partition, r.offset))


def in_order(found):
    return sorted(found, key=lambda r: (r.partition, r.offset))


def test_spark_reads_and_writes_in_batches_and_as_a_stream(client, tmp_path):
    for topic in ("given", "in", "out"):
        client.create_topic(topic, 2)
    for compression in client.compressions:
        client.produce("given", given(40), compression)
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
    output = run_java("spark", "SparkJob", client.address, tmp_path, AT + 20, options=opened)

    everything = in_order(client.read("given", 200, {0: 0, 1: 0}))
    assert from_spark(output, "given") == everything
    since = client.offsets("given", AT + 20)
    assert from_spark(output, "since") == [r for r in everything if r.offset >= since[r.partition]]
    assert [(r.partition, r.offset) for r in from_spark(output, "part")] == [(0, n) for n in range(10, 30)] + [(1, n) for n in range(5)]

    written = in_order(client.read("in", 800, {0: 0, 1: 0}))
    rows = {r.value: (r.key, r.headers) for r in written}
    assert rows == {b"row %d" % i: (b"key-%d" % (i % 17), (("row", b"%d" % i),)) for i in range(800)}
    streamed = in_order(client.read("out", 800, {0: 0, 1: 0}))
    assert client.offsets("out", "latest") == {p: sum(r.partition == p for r in streamed) for p in (0, 1)}
    assert sorted((r.key, r.value, r.headers) for r in streamed) == sorted((r.key, r.value.upper(), r.headers) for r in written)
    assert from_spark(output, "out") == streamed


def contents(found):
    return sorted((r.content for r in found), key=repr)


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_flink_copies_a_topic_through_a_failure(client, guarantee):
    for topic in ("in", "out"):
        client.create_topic(topic, 2)
    client.produce("in", given(2_000), "zstd")
    output = run_java("flink", "FlinkJob", client.address, guarantee)
    assert "failed once and ended" in output, (client.offsets("in", "latest"), client.offsets("out", "latest"))
    wanted = contents(client.read("in", 2_000, {0: 0, 1: 0}))
    if guarantee == "exactly-once":
        found = client.read("out", 2_000, {0: 0, 1: 0}, committed=True)
        assert contents(found) == wanted
    else:
        found = client.read("out", sum(client.offsets("out", "latest").values()), {0: 0, 1: 0})
        assert len(found) >= 2_000, "the failure may have made some come twice"
        assert contents({r.content: r for r in found}.values()) == wanted
    # Flink commits at its checkpoints, and does not wait for the last.
    assert all(0 < offset <= 1_000 for offset, _ in client.committed("flink", "in").values())
