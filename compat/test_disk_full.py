"""A disk that fills up: producers get an error, what was acknowledged stays, and intake goes on when space returns."""

import os
import subprocess
import time

import pytest
from confluent_kafka import Producer
from harness import until
from kafka_client import create_topic, send_all

SIZE_MB = 640
PIPELINE = """
    CREATE STREAM s (id BIGINT NOT NULL) WITH (topic = 's', format = 'json', partitions = '1');
    CREATE MATERIALIZED VIEW v WITH (retention = '10000 days') AS SELECT id FROM s;
    CREATE MATERIALIZED VIEW total AS SELECT id % 10 AS digit, count(*) AS n FROM s GROUP BY id % 10;
    CREATE SINK archive INTO LAKE 's' FROM v WITH (commit_interval = '2 s');
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, so that it can be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder, leave_bytes):
    """Writes a file that leaves this much space."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with open(folder / "filler", "ab") as file:
        left = max(0, free - leave_bytes)
        try:
            while left > 0:
                file.write(b"\0" * min(left, 1 << 20))
                left -= 1 << 20
        except OSError:
            pass  # full is what we wanted


class Numbered:
    """Sends numbered events one batch at a time, without retries, so that an error shows at once."""

    def __init__(self, address):
        self.producer = Producer({"bootstrap.servers": address, "acks": "all", "retries": 0, "message.timeout.ms": 10_000,
                                  "linger.ms": 0, "log_level": 0})
        self.next, self.acknowledged, self.errors = 0, set(), []

    def send(self, count, padding=0):
        """Sends `count` events; returns whether all were acknowledged."""
        failed = []
        for i in range(self.next, self.next + count):
            def delivered(error, _message, i=i):
                if error is None:
                    self.acknowledged.add(i)
                else:
                    failed.append(error)
            self.producer.produce("s", f'{{"id": {i}, "padding": "{"x" * padding}"}}', on_delivery=delivered)
        self.next += count
        self.producer.flush(30)
        self.errors += failed
        return not failed


@pytest.mark.parametrize("left_mb", [64, 0], ids=["below the reserve", "to the last byte"])
def test_a_full_disk_pauses_intake_and_recovers(platform, small_disk, left_mb):
    p = platform(folder=small_disk)
    p.script(PIPELINE)
    client = Numbered(p.kafka)
    assert client.send(1_000)
    p.wait_for("SELECT count(*) FROM v", 1_000, 20)

    fill(small_disk, left_mb << 20)
    until("producers are refused", lambda: not client.send(100, padding=10_000), 60)
    refused = client.errors[-1]
    assert refused.name() in ("KAFKA_STORAGE_ERROR", "POLICY_VIOLATION", "NOT_ENOUGH_REPLICAS"), f"not a clear error: {refused}"
    # Reading goes on, the process lives, and it says so.
    assert p.one("SELECT count(*) FROM v") >= 1_000
    assert p.process.poll() is None
    until("the log speaks of the disk", lambda: any(w in p.log_tail(200).lower() for w in ("disk", "space")), 10)
    for _ in range(5):
        assert not client.send(10)

    os.remove(small_disk / "filler")
    until("producers are served again", lambda: client.send(10), 30)
    assert client.send(1_000)
    check(p, client)
    p.kill()
    p.start()
    check(p, client)


def check(p, client):
    """What was acknowledged is there once; what was refused is there at most once."""
    def settled():
        return client.acknowledged <= {i for (i,) in p.sql("SELECT id FROM v")}

    until("all acknowledged events are in the view", settled, 60)
    ids = [i for (i,) in p.sql("SELECT id FROM v")]
    assert len(ids) == len(set(ids)), "an event is there twice"
    digits = {d: sum(1 for i in ids if i % 10 == d) for d in range(10)}
    assert dict(p.sql("SELECT digit, n FROM total")) == digits
    until("the lake has the same rows", lambda: sorted(i for (i,) in p.sql("SELECT id FROM lake.s")) == sorted(ids), 30)


def test_a_start_on_a_full_disk_says_why(platform, small_disk):
    p = platform(folder=small_disk)
    create_topic(p.kafka, "t")
    send_all(p.kafka, "t", [b"one"])
    p.stop()
    fill(small_disk, 0)
    began = time.monotonic()
    try:
        # Serving what is there, or an end with a clear message, are both fine; hanging or a panic are not.
        p.start(seconds=30)
    except AssertionError:
        assert time.monotonic() - began < 30 and p.process.returncode not in (None, 101), p.log_tail()
        assert any(w in p.log_tail().lower() for w in ("disk", "space")), p.log_tail()
    os.remove(small_disk / "filler")
    if p.process.poll() is not None:
        p.start()
    until("writes are served again", lambda: Numbered(p.kafka) and send_all(p.kafka, "t", [b"two"]), 30)
