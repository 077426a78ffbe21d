"""Runs the `pluvio` binary as a user would: one process, its own folder and free ports, spoken to from outside only.

Nothing here waits for a fixed time: `until` asks again and again until the answer is there or a deadline passes.
"""

import collections
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("PLUVIO_TEST_DATA", ROOT.parent / "shared" / "data"))


def binary():
    """The release build: $PLUVIO_BIN, or where cargo puts it."""
    if "PLUVIO_BIN" in os.environ:
        return pathlib.Path(os.environ["PLUVIO_BIN"])
    folders = [ROOT / "target", pathlib.Path.home() / ".cache/pluvio/target"]
    if "CARGO_TARGET_DIR" in os.environ:
        folders.insert(0, pathlib.Path(os.environ["CARGO_TARGET_DIR"]))
    found = [folder / "release/pluvio" for folder in folders if (folder / "release/pluvio").exists()]
    if not found:
        raise FileNotFoundError("pluvio is not built: run `cargo build --release` or set PLUVIO_BIN")
    return found[0]


def environment():
    """This process's environment without what is meant for the tests: PLUVIO_… names are options of the program."""
    ours = ("PLUVIO_BIN", "PLUVIO_TEST_DATA", "PLUVIO_ARTIFACTS", "PLUVIO_CACHE")
    return {name: value for name, value in os.environ.items() if name not in ours}


def free_ports(count):
    """Ports that nobody listens on, below those that the system gives to outgoing connections: one of these could take a
    port between two starts of a server."""
    found = set()
    while len(found) < count:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as each:
            try:
                each.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.add(port)
    return list(found)


def until(what, ask, seconds=30.0, pause=0.05):
    """Calls `ask` until it returns something true, and returns that. `what` is said if it never does."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = ask()
            if last:
                return last
        except (OSError, psycopg.OperationalError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not: {what} (last: {last!r})")
        time.sleep(pause)


class Server:
    """A server in a process of its own: how it ends and what it said. `process` and `log_path` are the subclass's."""

    stop_signal = signal.SIGINT
    stop_seconds = 30.0

    def kill(self):
        """kill -9, as a power cut would."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def stop(self, seconds=None):
        """A controlled shutdown, and waits for the end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
        return self.process.wait(self.stop_seconds if seconds is None else seconds)

    def restart(self):
        self.stop()
        return self.start()

    def log_tail(self, lines=40):
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


class Pluvio(Server):
    """One platform. Its ports stay the same through restarts, so clients reconnect as they would in life."""

    name = "pluvio"

    def __init__(self, folder, pipeline=None, arguments=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log_path = self.folder / "pluvio.log"
        self.kafka_port, self.postgres_port, self.http_port = free_ports(3)
        self.pipeline = pipeline
        self.arguments = list(arguments)
        self.process = None
        self.starts = 0

    @property
    def kafka(self):
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http_port}"

    def command(self):
        verb = ["run", str(self.pipeline)] if self.pipeline else ["serve"]
        return [
            str(binary()), *verb, "--data-dir", str(self.data),
            "--kafka-listen", self.kafka,
            "--postgres-listen", f"127.0.0.1:{self.postgres_port}",
            "--http-listen", f"127.0.0.1:{self.http_port}",
            *self.arguments,
        ]

    def start(self, wait=True, seconds=60.0):
        """Starts the process; with `wait`, returns when it is ready: the seconds that took."""
        log = open(self.log_path, "ab")
        log.write(f"--- start {self.starts}\n".encode())
        log.flush()
        self.log_from = log.tell()
        started = time.monotonic()
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        env=environment())
        log.close()
        self.starts += 1
        if wait:
            self.wait_ready(seconds)
        return time.monotonic() - started

    def wait_ready(self, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not self.healthy():
            if self.process.poll() is not None:
                raise AssertionError(f"pluvio ended with {self.process.returncode} before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"pluvio was not ready within {seconds} s:\n{self.log_tail()}")
            time.sleep(0.005)

    def healthy(self):
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def rss_mb(self):
        """Resident memory now, in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024

    def connect(self, **more):
        return psycopg.connect(host="127.0.0.1", port=self.postgres_port, user="test", dbname="pluvio",
                               autocommit=True, connect_timeout=10, **more)

    def sql(self, query, parameters=None):
        """Runs one statement on a connection of its own; its rows, or None."""
        with self.connect() as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else None

    def script(self, statements):
        """Runs statements separated by a semicolon at a line's end."""
        with self.connect() as connection:
            for statement in re.split(r";\s*(?:\n|$)", statements):
                if statement.strip():
                    connection.execute(statement)

    def one(self, query, parameters=None):
        """The single value of a query."""
        return self.sql(query, parameters)[0][0]

    def wait_for(self, query, expected, seconds=60.0):
        """Waits until the query's single value is `expected`."""
        seen = collections.deque(maxlen=1)

        def ask():
            seen.append(self.one(query))
            return seen[0] == expected

        try:
            until(f"{query} = {expected}", ask, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it was {list(seen)}\n{self.log_tail(15)}") from None

    @staticmethod
    def cli(*arguments, input=None, timeout=60, check=True, env=None):
        """Runs another `pluvio` command, against the address that the arguments give."""
        done = subprocess.run([str(binary()), *arguments], input=input, capture_output=True, text=True,
                              timeout=timeout, env={**environment(), **(env or {})}, **({} if input is not None else {"stdin": subprocess.DEVNULL}))
        if check and done.returncode != 0:
            raise AssertionError(f"pluvio {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}{done.stdout}")
        return done


class Tail(threading.Thread):
    """Runs `work(stop)` in a thread until `finish`, and raises there what went wrong in it."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.stop_event, self.error = work, threading.Event(), None
        self.start()

    def run(self):
        try:
            self.work(self.stop_event)
        except BaseException as error:  # noqa: BLE001 - handed to the test in finish()
            self.error = error

    def finish(self, seconds=60):
        self.stop_event.set()
        self.join(seconds)
        assert not self.is_alive(), "the background work did not end"
        if self.error:
            raise self.error
