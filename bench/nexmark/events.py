"""The events: made by the generator in files, and produced into the queue's topics from there."""

import json
import os
import pathlib
import shutil
import subprocess
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from kafka_oracle import cache
from queries import HERE, TOPICS

PRODUCER = {"linger.ms": 50, "batch.size": 1_000_000, "compression.type": "none", "acks": "1",
            "queue.buffering.max.messages": 500_000, "queue.buffering.max.kbytes": 1_000_000}


def generator():
    """The generator, built."""
    target = pathlib.Path(os.environ.get("NEXMARK_TARGET_DIR", cache() / "nexmark-generator"))
    subprocess.run(["cargo", "build", "--release", "--quiet", "--manifest-path", HERE / "generator/Cargo.toml"],
                   env={**os.environ, "CARGO_TARGET_DIR": str(target)}, check=True)
    return target / "release/nexmark-generator"


class Events:
    """The files of one set of events; `counts` says how many of each topic."""

    def __init__(self, folder, events, rate, partitions, seed):
        self.wanted = {"events": events, "rate": rate, "partitions": partitions, "seed": seed}
        self.partitions = partitions
        self.folder = folder / "-".join(f"{name}{value}" for name, value in self.wanted.items())
        marker = self.folder / "counts.json"
        if not marker.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            began = time.monotonic()
            options = [word for name, value in self.wanted.items() for word in (f"--{name}", str(value))]
            done = subprocess.run([generator(), "--out", self.folder, *options], check=True, capture_output=True, text=True)
            marker.write_text(done.stdout)
            print(f"generated {events:,} events in {time.monotonic() - began:.1f} s", flush=True)
        self.counts = json.loads(marker.read_text())

    def read_by(self, topics):
        return sum(self.counts[topic] for topic in topics)

    def bytes(self):
        return sum(path.stat().st_size for path in self.folder.glob("*.jsonl"))

    def produce(self, address):
        """Makes the topics and sends every file to its partition."""
        admin = AdminClient({"bootstrap.servers": address})
        for made in admin.create_topics([NewTopic(topic, self.partitions, 1) for topic in TOPICS]).values():
            made.result(30)
        began = time.monotonic()
        failed = []
        producer = Producer({"bootstrap.servers": address, **PRODUCER})
        producer.poll(0)

        def delivered(error, _):
            if error:
                failed.append(error)

        for topic in TOPICS:
            for partition in range(self.partitions):
                with open(self.folder / f"{topic}-{partition}.jsonl", "rb") as lines:
                    for line in lines:
                        while True:
                            try:
                                producer.produce(topic, line[:-1], partition=partition, on_delivery=delivered)
                                break
                            except BufferError:
                                producer.poll(0.05)
                producer.poll(0)
        left = producer.flush(120)
        if failed or left:
            raise RuntimeError(f"{len(failed)} events were refused, {left} not acknowledged: {failed[:1]}")
        seconds = time.monotonic() - began
        print(f"produced {sum(self.counts.values()):,} events in {seconds:.1f} s", flush=True)
