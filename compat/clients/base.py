"""What a Kafka client can be asked for, whichever it is; the suites in `client_suite.py` are written against this.

Keys, values and header values are bytes or None, timestamps milliseconds since 1970, offsets by partition.
"""

import contextlib
import queue
import threading
import time
from typing import NamedTuple

from harness import until


class Record(NamedTuple):
    """A record as read (or, with partition and timestamp left out, as it is to be written)."""

    key: bytes | None = None
    value: bytes | None = None
    headers: tuple = ()
    timestamp: int | None = None
    partition: int | None = None
    offset: int | None = None

    @property
    def content(self):
        """All that the writer decides."""
        return self.key, self.value, tuple(self.headers), self.timestamp


class ClientError(Exception):
    """What the client raised, with the broker's error in its text."""


class Client:
    """One client library, connected to one broker. Waits are at most `SECONDS`."""

    name = "?"
    compressions = ("none", "gzip", "snappy", "lz4", "zstd")
    #: Names of assignment strategies; "server" is KIP-848, where the broker assigns.
    strategies = ("range",)
    static_members = True
    SECONDS = 30

    def __init__(self, address):
        self.address, self.running = address, []

    def keep(self, member):
        """Remembers a consumer, to end it with the client if the test did not."""
        self.running.append(member)
        return member

    def close(self):
        """Ends what still runs."""
        for each in self.running:
            with contextlib.suppress(Exception):
                each.leave()

    def produce(self, topic, records, compression="none", acks="all", idempotent=False, small_batches=False):
        """Writes the records and returns when all are acknowledged."""
        raise NotImplementedError

    def read(self, topic, count, starts, committed=False):
        """The first `count` records at or after `starts` ({partition: offset}); `committed`: isolation read_committed."""
        raise NotImplementedError

    def offsets(self, topic, at):
        """{partition: offset} for "earliest", "latest" or a time in ms; a time after the last record gives -1 or the end."""
        raise NotImplementedError

    def join(self, group, topics, strategy=None, static=None):
        """Starts a `Member` that consumes in the background, from the earliest, and commits only when told to."""
        raise NotImplementedError

    def committed(self, group, topic):
        """{partition: (offset, metadata)} of what a group has committed."""
        raise NotImplementedError

    def transaction(self, transactional_id):
        """A `Transactional` producer, initialized."""
        raise NotImplementedError

    def consuming_transaction(self, group, topic, count, transactional_id):
        """A member of a group that has read `count` records, and the producer whose transactions its offsets join."""
        member = self.join(group, [topic])
        until(f"{count} records are read", lambda: len(member.records()) == count)
        return member, self.transaction(transactional_id)

    def create_topic(self, topic, partitions, config=None):
        raise NotImplementedError

    def delete_topic(self, topic):
        raise NotImplementedError

    def create_partitions(self, topic, total):
        raise NotImplementedError

    def topics(self):
        """{name: number of partitions}"""
        raise NotImplementedError

    def config(self, topic):
        """{setting: value}, defaults included."""
        raise NotImplementedError

    def alter_config(self, topic, settings):
        raise NotImplementedError

    def groups(self):
        """The names of all groups."""
        raise NotImplementedError

    def group(self, group):
        """(state, number of members); the state in lower case without separators: "stable", "empty"."""
        raise NotImplementedError

    def delete_group(self, group):
        """None in the place of this method: the library cannot."""
        raise NotImplementedError

    def truncate(self, topic, before):
        """DeleteRecords: what is before these offsets ({partition: offset}) goes."""
        raise NotImplementedError


class Transactional:
    """A producer with a transactional id."""

    def begin(self):
        raise NotImplementedError

    def send(self, topic, records):
        """Writes the records within the transaction; returns when they are acknowledged."""
        raise NotImplementedError

    def send_offsets(self, member):
        """Adds what the member has consumed to the transaction."""
        raise NotImplementedError

    def end(self, commit):
        raise NotImplementedError

    def close(self):
        """Ends without an orderly goodbye where the library can."""


class Member:
    """A consumer in a group."""

    def assignment(self):
        """{(topic, partition)}, once the group has settled for this member."""
        raise NotImplementedError

    def rebalances(self):
        """How often it was given partitions so far."""
        raise NotImplementedError

    def records(self):
        """All records it was given so far."""
        raise NotImplementedError

    def commit(self, metadata=""):
        """Commits what it was given, synchronously."""
        raise NotImplementedError

    def leave(self):
        """Closes the consumer. A static member keeps its place until its session ends."""
        raise NotImplementedError


class PollingMember(Member):
    """A member on top of a consumer that one thread must poll: calls from outside are run by that thread."""

    def __init__(self, consumer):
        self.consumer = consumer
        self.got, self.count, self.owned, self.positions = [], 0, set(), {}
        self.calls, self.ended, self.error = queue.Queue(), threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def poll(self):
        """[(topic, Record)] that came within a tenth of a second."""
        raise NotImplementedError

    def owns(self):
        """{(topic, partition)} at present."""
        raise NotImplementedError

    def run(self):
        try:
            while not self.ended.is_set():
                for topic, record in self.poll():
                    self.got.append(record)
                    self.positions[topic, record.partition] = record.offset + 1
                self.owned = self.owns()
                while not self.calls.empty():
                    call, answer = self.calls.get()
                    try:
                        answer.put((call(), None))
                    except Exception as error:  # noqa: BLE001 - raised by whoever asked
                        answer.put((None, error))
        except Exception as error:  # noqa: BLE001 - raised by whoever asks next
            self.error = error

    def ask(self, call, seconds=30):
        """Runs `call` in the consumer's thread."""
        answer = queue.Queue()
        self.calls.put((call, answer))
        deadline = time.monotonic() + seconds
        while True:
            try:
                result, error = answer.get(timeout=0.1)
                break
            except queue.Empty:
                if self.error or time.monotonic() > deadline:
                    raise ClientError(f"the consumer's thread gave no answer: {self.error!r}") from self.error
        if error:
            raise ClientError(str(error)) from error
        return result

    def check(self):
        if self.error:
            raise ClientError(f"the consumer failed: {self.error!r}") from self.error

    def assignment(self):
        self.check()
        return set(self.owned)

    def rebalances(self):
        return self.count

    def records(self):
        self.check()
        return list(self.got)

    def leave(self):
        if self.ended.is_set():
            return
        self.ended.set()
        self.thread.join(30)
        assert not self.thread.is_alive(), "the consumer's thread did not end"
        self.consumer.close()


def take(count, poll, seconds=30):
    """Calls `poll`, which gives lists of records, until there are `count`."""
    found, deadline = [], time.monotonic() + seconds
    while len(found) < count:
        found.extend(poll())
        if time.monotonic() > deadline:
            raise ClientError(f"{len(found)} records instead of {count} within {seconds} s")
    return found
