"""The load of the engine's benchmarks: JSON events built by the thousand, sent as record batches to the Kafka door.

A client of Kafka spends more on an event than the server does, and on a machine of two cores that is all one would
measure. Here numpy writes the events of a batch at once, several million a second, in the format of Kafka's protocol
(magic 2, not compressed), and one connection sends them (Produce, version 7). The server cannot tell the difference.

    events = Json('{"user":"', Field("user", 36), '","at":', Field("at", 13), "}")
    with Sender(address, "clicks", partitions=4) as sender:
        sender.send(0, events.encode({"user": texts, "at": digits(times, 13)}))

A field's values are rows of bytes, of equal width, filled up with NUL bytes that are left out.
"""

import collections
import socket
import struct
import threading
import time

import google_crc32c
import numpy

# Records of a batch: what stands for a record's place then has two bytes at most.
RECORDS_MAX = 8_192
BATCH_BYTES_MAX = 1_000_000
# Requests that may wait for their answers.
IN_FLIGHT_MAX = 8
ANSWER_SECONDS_MAX = 60
PRODUCE, CREATE_TOPICS = 0, 19
VERSION = 7
HEAD = struct.Struct(">qiibIhiqqqhii")
# Bytes of a batch before those that the checksum covers.
CHECKED_FROM = 21


def digits(numbers, width):
    """Whole numbers from 0 on as decimal digits, a row each; NUL instead of leading zeros."""
    left = numpy.asarray(numbers, dtype=numpy.int64).copy()
    rows = numpy.zeros((len(left), width), dtype=numpy.uint8)
    for place in range(width - 1, -1, -1):
        needed = (left > 0) | (place == width - 1)
        rows[:, place] = numpy.where(needed, 48 + left % 10, 0)
        left //= 10
    if left.any():
        raise ValueError(f"a number does not fit in {width} digits")
    return rows


def texts(words):
    """Words as rows of bytes, to be chosen from by index."""
    encoded = [word.encode() for word in words]
    width = max(map(len, encoded))
    return numpy.frombuffer(b"".join(word.ljust(width, b"\0") for word in encoded), dtype=numpy.uint8).reshape(-1, width)


class Field:
    """A place in an event for a value of up to `width` bytes."""

    def __init__(self, name, width):
        self.name, self.width = name, width


class Json:
    """What the events look like: fixed texts and fields."""

    def __init__(self, *parts):
        self.parts = parts
        self.width = sum(part.width if isinstance(part, Field) else len(part) for part in parts)

    def records_max(self):
        """Records that fit a batch for sure."""
        return min(RECORDS_MAX, BATCH_BYTES_MAX // (self.width + 16))

    def encode(self, values):
        """One record batch, without keys, of all the values' rows; (bytes, records)."""
        count = len(next(iter(values.values())))
        rows = numpy.empty((count, self.width), dtype=numpy.uint8)
        at = 0
        for part in self.parts:
            field = isinstance(part, Field)
            width = part.width if field else len(part)
            rows[:, at:at + width] = values[part.name] if field else numpy.frombuffer(part.encode(), dtype=numpy.uint8)
            at += width
        return batch(rows), count


def lines_batch(lines):
    """One record batch of these lines, without keys; (bytes, records)."""
    rows = numpy.array(lines)
    return batch(rows.view(numpy.uint8).reshape(len(lines), -1)), len(lines)


def varints(numbers):
    """Zigzag varints of numbers from 0 to 8,191, as two columns, and which of their bytes are meant."""
    doubled = numbers * 2
    long = doubled > 127
    columns = numpy.stack([numpy.where(long, doubled & 127 | 128, doubled), doubled >> 7], axis=1).astype(numpy.uint8)
    return columns, numpy.stack([numpy.ones_like(long), long], axis=1)


def batch(rows):
    """A record batch whose values are the rows without their NUL bytes."""
    count = len(rows)
    if not 0 < count <= RECORDS_MAX:
        raise ValueError(f"{count} records in a batch")
    meant = rows != 0
    sizes = meant.sum(axis=1)
    offsets, offsets_meant = varints(numpy.arange(count))
    values, values_meant = varints(sizes)
    # Attributes and time delta, the offset, no key (-1), the value's size, the value, no headers.
    lengths, lengths_meant = varints(2 + offsets_meant.sum(axis=1) + 1 + values_meant.sum(axis=1) + sizes + 1)

    def constant(*numbers):
        return numpy.broadcast_to(numpy.array(numbers, dtype=numpy.uint8), (count, len(numbers)))

    columns = [lengths, constant(0, 0), offsets, constant(1), values, rows, constant(0)]
    masks = [lengths_meant, constant(1, 1), offsets_meant, constant(1), values_meant, meant, constant(1)]
    records = numpy.hstack(columns)[numpy.hstack([mask.astype(bool) for mask in masks])].tobytes()
    now_ms = time.time_ns() // 1_000_000
    size = HEAD.size - 12 + len(records)
    head = HEAD.pack(0, size, -1, 2, 0, 0, count - 1, now_ms, now_ms, -1, -1, -1, count)
    checksum = google_crc32c.value(head[CHECKED_FROM:] + records)
    return HEAD.pack(0, size, -1, 2, checksum, 0, count - 1, now_ms, now_ms, -1, -1, -1, count) + records


def text(word):
    return struct.pack(">h", len(word)) + word.encode()


def read_answer(connection):
    """One answer's body, after its correlation id."""
    def exactly(count):
        parts = []
        while count:
            part = connection.recv(count)
            if not part:
                raise ConnectionError("the Kafka door closed the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    (size,) = struct.unpack(">i", exactly(4))
    return exactly(size)[4:]


class Sender:
    """A connection that produces to one topic, which it makes, with several requests on their way at once. What is
    acknowledged is on the disk, unless `acks` is 1."""

    def __init__(self, address, topic, partitions, acks=-1):
        host, port = address.split(":")
        self.topic, self.partitions, self.acks = topic, partitions, acks
        self.connection = socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS_MAX)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting = collections.deque()
        self.changed = threading.Condition()
        self.failure, self.closed = None, False
        self.sent = 0
        self._create_topic()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.finish()
        finally:
            with self.changed:
                self.closed = True
                self.changed.notify_all()
            self.connection.close()

    def send(self, partition, batch_and_count):
        """Sends a batch; waits only if too many are on their way."""
        records, count = batch_and_count
        with self.changed:
            self.changed.wait_for(lambda: len(self.waiting) < IN_FLIGHT_MAX or self.failure, ANSWER_SECONDS_MAX)
            self._check()
            self.waiting.append(count)
            self.changed.notify_all()
        body = struct.pack(">hhii", -1, self.acks, 30_000, 1) + text(self.topic)
        body += struct.pack(">iii", 1, partition, len(records)) + records
        self._ask(PRODUCE, VERSION, body)

    def finish(self):
        """Waits until everything is acknowledged; how many events that are in all."""
        with self.changed:
            self.changed.wait_for(lambda: not self.waiting or self.failure, ANSWER_SECONDS_MAX)
            self._check()
        return self.sent

    def _check(self):
        if self.failure:
            raise self.failure

    def _ask(self, key, version, body):
        request = struct.pack(">hhi", key, version, 0) + text("bench") + body
        self.connection.sendall(struct.pack(">i", len(request)) + request)

    def _create_topic(self):
        topic = text(self.topic) + struct.pack(">ihii", self.partitions, 1, 0, 0)
        self._ask(CREATE_TOPICS, 2, struct.pack(">i", 1) + topic + struct.pack(">ib", 30_000, 0))
        (error,) = struct.unpack_from(">h", read_answer(self.connection), 4 + 4 + 2 + len(self.topic))
        # 36: it is there already.
        if error not in (0, 36):
            raise RuntimeError(f"the topic {self.topic} was not made: error {error}")

    def _read(self):
        """The answers, in the order of the requests."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.closed)
                if self.closed:
                    return
            try:
                # One topic, its name, one partition, its number, its error code.
                (error,) = struct.unpack_from(">h", read_answer(self.connection), 4 + 2 + len(self.topic) + 4 + 4)
                failure = RuntimeError(f"a batch was refused: error {error}") if error else None
            except OSError as problem:
                failure = problem
            with self.changed:
                if failure:
                    self.failure = failure
                else:
                    self.sent += self.waiting.popleft()
                self.changed.notify_all()
                if failure:
                    return
