"""A client that lives in a program of another language: one process, asked in lines of JSON, answering in lines of JSON.

A request is `{"do": NAME, …}`, its answer `{"ok": RESULT}` or `{"error": TEXT}`. A record is the list
[partition, offset, key, value, [[name, value], …], timestamp], bytes in base64. What a program is asked for
is the interface in `base`; `members` and `transactions` are named by numbers that this side gives.
"""

import base64
import contextlib
import itertools
import json
import queue
import subprocess
import threading

from .base import Client, ClientError, Member, Record, Transactional


def encoded(data):
    return None if data is None else base64.b64encode(data).decode()


def decoded(text):
    return None if text is None else base64.b64decode(text)


def to_wire(record):
    headers = [[name, encoded(value)] for name, value in record.headers]
    return [record.partition, record.offset, encoded(record.key), encoded(record.value), headers, record.timestamp]


def from_wire(wire):
    partition, offset, key, value, headers, timestamp = wire
    headers = tuple((name, decoded(value)) for name, value in headers or ())
    return Record(decoded(key), decoded(value), headers, timestamp, partition, offset)


def by_partition(answer):
    """JSON knows only texts as keys."""
    return {int(partition): value for partition, value in answer.items()}


class Remote(Client):
    """`command` (of the class) is what starts the program; it is given the broker's address."""

    numbers = itertools.count(1)

    @classmethod
    def command(cls):
        raise NotImplementedError

    def __init__(self, address):
        super().__init__(address)
        self.errors = []
        self.process = subprocess.Popen([*map(str, self.command()), address], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment())
        self.answers = queue.Queue()
        threading.Thread(target=self.collect, args=(self.process.stdout, self.answers.put), daemon=True).start()
        threading.Thread(target=self.collect, args=(self.process.stderr, self.errors.append), daemon=True).start()

    @classmethod
    def environment(cls):
        return None

    @staticmethod
    def collect(lines, into):
        for line in lines:
            into(line)
        into("")

    def ask(self, do, **arguments):
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        try:
            line = self.answers.get(timeout=self.SECONDS + 10)
        except queue.Empty:
            line = ""
        if not line:
            raise ClientError(f"{self.name}: no answer to {do!r}\n{''.join(self.errors[-30:])}")
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(f"{self.name}: {do}: {answer['error']}")
        return answer["ok"]

    def close(self):
        super().close()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def produce(self, topic, records, compression="none", acks="all", idempotent=False, small_batches=False):
        self.ask("produce", topic=topic, records=[to_wire(r) for r in records], compression=compression, acks=acks,
                 idempotent=idempotent, small_batches=small_batches)

    def read(self, topic, count, starts, committed=False):
        answer = self.ask("read", topic=topic, count=count, starts=starts, committed=committed, seconds=self.SECONDS)
        return [from_wire(r) for r in answer]

    def offsets(self, topic, at):
        return by_partition(self.ask("offsets", topic=topic, at=at))

    def join(self, group, topics, strategy=None, static=None):
        member = next(self.numbers)
        self.ask("join", member=member, group=group, topics=topics, strategy=strategy or "", static=static or "")
        return self.keep(RemoteMember(self, member))

    def committed(self, group, topic):
        return {p: tuple(each) for p, each in by_partition(self.ask("committed", group=group, topic=topic)).items()}

    def transaction(self, transactional_id):
        number = next(self.numbers)
        self.ask("transactional", transactions=number, id=transactional_id)
        return RemoteTransactional(self, number)

    def create_topic(self, topic, partitions, config=None):
        self.ask("create_topic", topic=topic, partitions=partitions, config=config or {})

    def delete_topic(self, topic):
        self.ask("delete_topic", topic=topic)

    def create_partitions(self, topic, total):
        self.ask("create_partitions", topic=topic, total=total)

    def topics(self):
        return self.ask("topics")

    def config(self, topic):
        return self.ask("config", topic=topic)

    def alter_config(self, topic, settings):
        self.ask("alter_config", topic=topic, settings=settings)

    def groups(self):
        return self.ask("groups")

    def group(self, group):
        state, members = self.ask("group", group=group)
        return state.lower(), members

    def delete_group(self, group):
        self.ask("delete_group", group=group)

    def truncate(self, topic, before):
        self.ask("truncate", topic=topic, before=before)


class RemoteMember(Member):
    def __init__(self, client, member):
        self.client, self.member, self.got, self.left = client, member, [], False

    def assignment(self):
        return {(topic, partition) for topic, partition in self.client.ask("assignment", member=self.member)}

    def rebalances(self):
        return self.client.ask("rebalances", member=self.member)

    def records(self):
        self.got += [from_wire(r) for r in self.client.ask("records", member=self.member)]
        return list(self.got)

    def commit(self, metadata=""):
        self.client.ask("commit", member=self.member, metadata=metadata)

    def leave(self):
        if not self.left:
            self.left = True
            self.client.ask("leave", member=self.member)


class RemoteTransactional(Transactional):
    def __init__(self, client, number):
        self.client, self.number = client, number

    def begin(self):
        self.client.ask("begin", transactions=self.number)

    def send(self, topic, records):
        self.client.ask("send", transactions=self.number, topic=topic, records=[to_wire(r) for r in records])

    def send_offsets(self, member):
        self.client.ask("send_offsets", transactions=self.number, member=member.member)

    def end(self, commit):
        self.client.ask("end", transactions=self.number, commit=commit)

    def close(self):
        self.client.ask("close", transactions=self.number)
