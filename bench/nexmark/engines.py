"""The two engines: how each is started, runs one query over what the topics hold, and is watched meanwhile.

Both answer `run(query)` with {seconds, cpu_seconds, events, rss_mb}: until the results have taken in every event, from
the statement that starts the query (Pluvio) or its submission (Flink; planning is told apart). Processor seconds are the
process's own, system calls included.
"""

import contextlib
import pathlib
import re
import shutil
import subprocess
import threading
import time

import harness
import psycopg
import queries
from brokers import cpu_seconds
from clients.prepared import tool
from kafka_oracle import cache, fetched, run_or_say
from queries import HERE

# Longest time that a query may take.
SECONDS_MAX = 1800
# What Flink's own scripts open to it of a Java that keeps its insides to itself.
OPENED = ["java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time",
          "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"]
STATES = {"hash": "hashmap", "rocksdb": "rocksdb"}


def rss_mb_max(pid):
    """The largest resident memory of a process since its start, in MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return round(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024, 1)


@contextlib.contextmanager
def ended_after(seconds, process):
    """Ends the process if what is done meanwhile takes longer."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Refused(Exception):
    """The engine does not take the query, or failed in it."""


class Pluvio:
    """The queue of both engines, and Pluvio's own engine in the same process: its processor time has the queue's in it."""

    name = "pluvio"

    def __init__(self, folder, events):
        self.server, self.events = harness.Pluvio(folder), events

    def start(self):
        self.server.start()
        self.events.produce(self.server.kafka)
        self.execute(queries.statements(HERE / "pluvio/streams.sql"))

    def stop(self):
        self.server.kill()

    def execute(self, statements):
        with self.server.connect() as connection:
            for statement in statements:
                connection.execute(statement)

    def restart(self):
        """A process without a past: its memory is of the next query alone."""
        self.server.restart()

    def run(self, query, keep_all=False):
        """With `keep_all`, the view's rows stay until `drop`, however many there are."""
        before, statements = queries.pluvio(query)
        if keep_all:
            view = f"CREATE MATERIALIZED VIEW {query}"
            statements = [each.replace(f"{view} AS", f"{view} WITH (retention_bytes = '16 GiB') AS") for each in statements]
        try:
            self.execute(before)
            dead_letters = self.dead_letters()
            pid = self.server.process.pid
            began, cpu = time.monotonic(), cpu_seconds(pid)
            with ended_after(SECONDS_MAX, self.server.process):
                self.execute([*statements, "FLUSH"])
                self.wait_for_sinks()
            found = {"seconds": time.monotonic() - began, "cpu_seconds": cpu_seconds(pid) - cpu}
        except psycopg.Error as error:
            if self.server.process.poll() is not None:
                self.server.start()
            self.drop(query)
            raise Refused(str(error).splitlines()[0]) from error
        found["events"] = self.server.one("SELECT max(rows_in) FROM pluvio.jobs")
        failed = self.server.sql("SELECT name, error FROM pluvio.jobs WHERE state <> 'running' OR lag_events > 0")
        dead_letters = self.dead_letters() - dead_letters
        if not keep_all:
            self.drop(query)
        if failed or dead_letters:
            raise Refused(f"jobs that failed or lag: {failed}; {dead_letters} dead letters")
        return {**found, "rss_mb": rss_mb_max(pid)}

    def dead_letters(self):
        return self.server.one("SELECT count(*) FROM pluvio.dead_letters")

    def wait_for_sinks(self):
        behind = "SELECT count(*) FROM pluvio.jobs WHERE kind = 'sink' AND lag_events > 0"
        harness.until("the sink has everything", lambda: self.server.one(behind) == 0, seconds=SECONDS_MAX)

    def drop(self, query):
        """Removes what the query made."""
        before, statements = queries.pluvio(query)
        for statement in queries.dropped([*before, *statements]):
            try:
                self.execute([statement])
            except psycopg.Error:
                pass  # a query that was refused made only some


class Flink:
    """A Flink cluster in one Java process (flink/src/NexmarkFlink.java); the queue it reads is another process."""

    name = "flink"

    def __init__(self, folder, address, state, heap, place=HERE / "flink"):
        """`place` has the folder sql and, unless it is Nexmark's own, src with what its tables need besides."""
        self.folder, self.address, self.state, self.heap, self.place = folder, address, state, heap, place
        self.process = None

    def class_path(self):
        """Flink's libraries and the classes of the src folders, fetched and compiled once."""
        pom = HERE / "flink/pom.xml"
        settings = HERE.parent.parent / "compat/clients/maven-settings.xml"

        def copy_libraries(folder):
            shutil.copy(pom, folder)
            run_or_say([tool("mvn", "maven"), "-q", "-B", "-s", settings, "dependency:copy-dependencies",
                        "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'libs'}"], cwd=folder, timeout=900)

        libraries = fetched(cache() / "nexmark-flink", copy_libraries, pom.read_text()) / "libs"
        classes = [self.compiled(place, libraries) for place in dict.fromkeys((HERE / "flink", self.place))]
        return ":".join([*map(str, classes), f"{libraries}/*"])

    @staticmethod
    def compiled(place, libraries):
        """The folder with the classes of a place's src."""
        sources = sorted((place / "src").glob("*.java"))

        def compile_classes(folder):
            shutil.copytree(place / "src/META-INF", folder / "META-INF")
            run_or_say([tool("javac", "default-jdk-headless"), "-nowarn", "-cp", f"{libraries}/*", "-d", folder, *sources],
                       timeout=120)

        recipe = (HERE / "flink/pom.xml").read_text() + "".join(source.read_text() for source in sources)
        return fetched(cache() / f"{place.parent.name}-flink.classes", compile_classes, recipe)

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        config = self.folder / "flink.conf"
        config.write_text((HERE / "flink/flink.conf").read_text() + f"""
state.backend.type: {STATES[self.state]}
execution.checkpointing.dir: file://{self.folder}/checkpoints
io.tmp.dirs: {self.folder}/tmp
""")
        (self.folder / "tmp").mkdir()
        command = [tool("java", "default-jre-headless"), f"-Xmx{self.heap}", f"-Xms{self.heap}",
                   "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                   *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
                   "-cp", self.class_path(), "NexmarkFlink", config, self.place / "sql",
                   f"KAFKA={self.address}", f"FOLDER={self.folder}"]
        with open(self.folder / "flink.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"Flink did not start: see {self.folder}/flink.log")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Refused(f"Flink ended with {self.process.wait()}")
        if line.startswith("error "):
            raise Refused(line[6:].strip())
        return line.rstrip("\n")

    def run(self, query):
        shutil.rmtree(self.folder / query, ignore_errors=True)
        names = ("seconds", "cpu_seconds", "planning_seconds", "planning_cpu_seconds", "events")
        with ended_after(SECONDS_MAX, self.process):
            self.ask(f"run {query}")
            found = dict(zip(names, map(float, self.answer().split()[1:])))
        return {**found, "events": int(found["events"]), "rss_mb": rss_mb_max(self.process.pid)}

    def rows(self, query):
        """What the query's rows are in the end, as texts."""
        self.ask(f"rows {query}")
        found = []
        while line := self.answer():
            found.append(tuple(line.split("\t")))
        return found
