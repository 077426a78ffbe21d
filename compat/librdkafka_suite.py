"""librdkafka's own test-runner: its source from the crate rdkafka-sys, built once, pointed at a broker.

`run_all(cases, …)` runs tests, several at once, and returns what becomes of each. The one thing that is
changed in the source is the number of replicas that tests ask for: one node cannot give three, be it Kafka's or ours.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed, wait

import kafka_oracle
from kafka_oracle import cache, fetched, run_or_say

CRATE = "4.10.0"  # librdkafka 2.12.1
CARGO_TOML = f"""
[package]
name = "fetch-librdkafka"
version = "0.0.0"
edition = "2021"

[lib]
path = "lib.rs"

[dependencies]
rdkafka-sys = {{ version = "={CRATE}", default-features = false }}

[workspace]
"""
CONFIGURE = ["--disable-gssapi", "--disable-debug-symbols"]
# What the build finds on the machine decides which tests are in it; without these some would skip themselves.
NEEDED = ("SSL", "ZLIB", "ZSTD", "RAPIDJSON", "SASL_SCRAM", "SASL_OAUTHBEARER", "SOCKEM")
PACKAGES = "g++ make libssl-dev zlib1g-dev libzstd-dev rapidjson-dev"
REPLICAS = "rd_kafka_NewTopic_new(topicname, partition_cnt, replication_factor,"
ONE_REPLICA = "rd_kafka_NewTopic_new(topicname, partition_cnt, replication_factor > 1 ? 1 : replication_factor,"


def fetch_source(folder):
    """librdkafka's whole tree, out of the crate."""
    project = folder / "project"
    project.mkdir()
    (project / "Cargo.toml").write_text(CARGO_TOML)
    (project / "lib.rs").write_text("")
    run_or_say(["cargo", "vendor", "-q", "vendor"], cwd=project, timeout=600)
    shutil.move(project / "vendor/rdkafka-sys/librdkafka", folder / "librdkafka")
    shutil.rmtree(project)


def build(folder):
    fetch_source(folder)
    source = folder / "librdkafka"
    test_c = source / "tests/test.c"
    text = test_c.read_text()
    if text.count(REPLICAS) != 1:
        raise RuntimeError(f"{test_c} makes its topics in another way than this script expects")
    test_c.write_text(text.replace(REPLICAS, ONE_REPLICA))
    run_or_say(["bash", "configure", *CONFIGURE], cwd=source, timeout=600)
    built_with = re.search(r"BUILT_WITH.*?\"(.*)\"", (source / "config.h").read_text()).group(1)
    missing = [name for name in NEEDED if name not in built_with.split()]
    if missing:
        raise RuntimeError(f"librdkafka was configured without {missing}: install {PACKAGES}")
    for target in ("src", "src-cpp"):
        run_or_say(["make", "-s", f"-j{os.cpu_count()}", "-C", source / target], timeout=1200)
    run_or_say(["make", "-s", f"-j{os.cpu_count()}", "-C", source / "tests", "build"], timeout=1200)
    run_or_say(["javac", "-cp", f"{kafka_oracle.home()}/libs/*", *sorted((source / "tests/java").glob("*.java"))], timeout=300)


def tests_folder():
    """Where test-runner is, built once per version of the crate and of this recipe."""
    recipe = CARGO_TOML + ONE_REPLICA + repr((CONFIGURE, NEEDED))
    return fetched(cache() / f"librdkafka-tests-{CRATE}", build, recipe) / "librdkafka/tests"


@dataclasses.dataclass(frozen=True)
class Case:
    """A line of allow.txt: a test's full name and how it is run."""

    name: str
    ways: frozenset = frozenset()

    @property
    def number(self):
        return self.name[:4]

    def __str__(self):
        return "-".join([self.name, *sorted(self.ways)])


WAYS = {
    "long": "takes a minute or more: started first",
    "full": "all of its subtests, not the quick ones only",
    "alone": "measures time: nothing else runs beside it",
    "consumer": "with the group protocol of KIP-848",
    "idempotent": "with an idempotent producer where the test does not say",
    "plain": "logs in with PLAIN",
    "scram": "logs in with SCRAM-SHA-512",
    "noautocreate": "at a broker that makes no topics by itself",
    "delay": "at a broker where a group that was empty waits 3 s for more members, as Kafka's own does by default",
}


def cases(file):
    """The lines of a list: NAME [WAY…] [# reason]."""
    found = []
    for line in file.read_text().splitlines():
        name, *ways = line.split("#")[0].split() or [""]
        if name:
            unknown = set(ways) - set(WAYS)
            assert not unknown, f"{file.name}: {line}: {unknown} is none of {set(WAYS)}"
            found.append(Case(name, frozenset(ways)))
    return found


def broker_tests():
    """The names of all tests that need a broker, from the source."""
    text = (tests_folder() / "test.c").read_text()
    table = text[text.index("struct test tests[] = {"):]
    table = table[:table.index("{NULL}}")]
    flags = dict(re.findall(r"_TEST\((\w+),\s*([^,)]+)", table))
    return [name for name, flag in flags.items() if "LOCAL" not in flag and "MANUAL" not in flag]


@dataclasses.dataclass
class Outcome:
    """What became of one run of test-runner: the state of each test it ran, and what it said."""

    states: dict
    seconds: float
    log: str

    def of(self, case):
        return self.states.get(case.name, "NO REPORT")

    def reason(self):
        """What the first failure said of itself."""
        found = re.search(r"^### Test .*\n?.*", self.log, re.M)
        return found.group(0) if found else self.log[-600:]


def login(ways, name, password):
    """The settings of a client that logs in, if the ways say so."""
    mechanism = "PLAIN" if "plain" in ways else "SCRAM-SHA-512" if "scram" in ways else None
    return mechanism and {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": name,
                          "sasl.password": password} or {}


def command_and_environment(number, ways, folder, settings):
    stem = folder / "-".join([number, *sorted(ways)])
    conf, report, log = (stem.with_suffix(end) for end in (".conf", ".json", ".log"))
    lines = {"test.topic.random": "true", "test.timeout.multiplier": "3", **settings}
    conf.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    environment = {
        **os.environ, "TESTS": number, "RDKAFKA_TEST_CONF": str(conf), "TEST_REPORT": str(report),
        "BROKERS": settings["bootstrap.servers"], "KAFKA_PATH": str(kafka_oracle.home()),
        "TEST_KAFKA_VERSION": kafka_oracle.VERSION, "LD_LIBRARY_PATH": "../src:../src-cpp",
    }
    # With CI in the environment, tests that measure time skip themselves.
    environment.pop("CI", None)
    if "consumer" in ways:
        environment["TEST_CONSUMER_GROUP_PROTOCOL"] = "consumer"
    command = ["./test-runner", "-p1", "-L", "-K", "-r"]
    command += [] if "full" in ways else ["-Q"]
    command += ["-P"] if "idempotent" in ways else []
    command += ["-s", "noautocreate"] if "noautocreate" in ways else []
    return command, environment, report, log


def run(number, ways, settings, folder, seconds_max=300):
    """Runs the tests of a number with librdkafka's settings, bootstrap.servers among them. The log stays in `folder`."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    command, environment, report, log = command_and_environment(number, ways, folder, settings)
    started = time.monotonic()
    with open(log, "wb") as out:
        process = subprocess.Popen(command, cwd=tests_folder(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   env=environment, start_new_session=True)
        try:
            process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - started
    try:
        tests = json.loads(report.read_text())["tests"]
        states = {name: test["state"] for name, test in tests.items() if name.startswith(number)}
    except (OSError, ValueError, KeyError):
        states = {}
    if process.returncode != 0 and "FAILED" not in states.values():
        # All passed, but the process could not be ended cleanly: threads or references were left.
        states = {name: f"ENDED WITH {process.returncode}" for name in states}
    return Outcome(states, seconds, re.sub(r"\x1b\[\d+m", "", log.read_text(errors="replace")))


def run_all(chosen, settings_of, folder, beside=6):
    """Starts the tests, `beside` of them at once, then those that want to be alone: a future for each case.

    `settings_of(ways)` are librdkafka's settings, which say where the broker is.
    """
    # Offsets that tests of earlier runs stored: a random topic's name may come again.
    for stored in tests_folder().glob("*.offset"):
        stored.unlink()
    runs = dict.fromkeys((each.number, each.ways) for each in sorted(chosen, key=lambda each: "long" not in each.ways))
    many, alone = ThreadPoolExecutor(beside), ThreadPoolExecutor(1)

    def start(number, ways):
        return run(number, ways, settings_of(ways), folder)

    futures = {key: many.submit(start, *key) for key in runs if "alone" not in key[1]}
    before = list(futures.values())

    def start_after_the_others(number, ways):
        """These measure time: what else the machine does may spoil two of three runs."""
        wait(before)
        for _ in range(3):
            outcome = start(number, ways)
            if "FAILED" not in outcome.states.values():
                break
        return outcome

    futures.update({key: alone.submit(start_after_the_others, *key) for key in runs if "alone" in key[1]})
    many.shutdown(wait=False)
    alone.shutdown(wait=False)
    return {each: futures[each.number, each.ways] for each in chosen}


def main():
    """python librdkafka_suite.py ADDRESS [--folder DIR] [--beside N] [NAME[:WAY…]…]: the outcome of each; default: all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--folder", default=tempfile.mkdtemp(prefix="librdkafka-"))
    parser.add_argument("--beside", type=int, default=4)
    parser.add_argument("--ways", default="", help="for every test that names none: full, consumer, …")
    parser.add_argument("--user", default="tester:tester-secret", help="NAME:PASSWORD of the ways plain and scram")
    parser.add_argument("--list", help="run a list such as librdkafka/allow.txt instead")
    parser.add_argument("cases", nargs="*", metavar="NAME[:WAY…]")
    given = parser.parse_intermixed_args()
    every = broker_tests()
    chosen = []
    for each in given.cases or sorted({name[:4] for name in every}):
        name, *ways = each.split(":")
        chosen += [Case(one, frozenset(ways or given.ways.split())) for one in every if one.startswith(name)]
    if given.list:
        chosen = cases(pathlib.Path(given.list))

    def settings_of(ways):
        return {"bootstrap.servers": given.address, **login(ways, *given.user.split(":"))}

    futures = run_all(chosen, settings_of, given.folder, given.beside)
    for future in as_completed(set(futures.values())):
        outcome = future.result()
        for case in (case for case, its in futures.items() if its is future):
            print(f"{outcome.of(case):10} {outcome.seconds:6.1f} s  {case}", flush=True)
            if outcome.of(case) not in ("PASSED", "SKIPPED"):
                print(f"           {outcome.reason()[:700]}")
    print(f"logs: {given.folder}")


if __name__ == "__main__":
    main()
