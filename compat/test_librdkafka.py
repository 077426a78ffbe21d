"""librdkafka's own tests (its test-runner, as published) against Pluvio, and a few of them against Apache Kafka.

librdkafka/allow.txt holds those that pass and only grows (`ALLOWED_COUNT`); librdkafka/known_failures.txt says why the
others are not in it.
"""

import pathlib
import threading

import pytest
from brokers import KINDS, with_users
from librdkafka_suite import broker_tests, cases, login, run_all

LISTS = pathlib.Path(__file__).resolve().parent / "librdkafka"
ALLOWED = cases(LISTS / "allow.txt")
# How many that is: raised with every case that is added, never lowered.
ALLOWED_COUNT = 109
# One of each kind: that the oracle agrees is shown by running all with `--broker kafka`, which takes minutes.
ORACLE = {"0012", "0017", "0019", "0034", "0044", "0054", "0073", "0099", "0112", "0118", "0130"}
USER, PASSWORD = "tester", "tester-secret"
# The ways that need a broker of their own, and how each kind is set up for them.
SETUPS = {
    "noautocreate": {
        "pluvio": {"arguments": ["--auto-create-topics", "false"]},
        "kafka": {"properties": {"auto.create.topics.enable": "false"}},
    },
    "delay": {
        "pluvio": {"arguments": ["--kafka-group-initial-rebalance-delay", "3 s"]},
        "kafka": {"properties": {"group.initial.rebalance.delay.ms": "3000"}},
    },
}


def known_failures():
    """{name: why it is not in allow.txt}."""
    lines = (LISTS / "known_failures.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def test_every_test_of_a_broker_is_in_one_of_the_lists():
    allowed, known = {case.name for case in ALLOWED}, set(known_failures())
    assert allowed | known == set(broker_tests())
    assert not allowed & known


def test_the_list_of_what_passes_only_grows():
    assert len(set(ALLOWED)) == ALLOWED_COUNT


class Session:
    """The runs of one kind and their nodes: each is made when a test first asks for its way."""

    def __init__(self, kind, folder, chosen):
        self.kind, self.folder, self.lock, self.nodes = kind, folder, threading.Lock(), {}
        self.futures = run_all(chosen, self.settings, folder / "runs")

    def make(self, which):
        folder = self.folder / which
        if which == "users":
            return with_users(self.kind, folder, {USER: PASSWORD}, session_lifetime_ms=10_000)
        return KINDS[self.kind](folder, **SETUPS.get(which, {}).get(self.kind, {}))

    def settings(self, ways):
        """librdkafka's settings for a test that is run in these ways."""
        which = "users" if ways & {"plain", "scram"} else next(iter(ways & set(SETUPS)), "plain")
        with self.lock:
            if which not in self.nodes:
                self.nodes[which] = self.make(which)
                self.nodes[which].start()
        node = self.nodes[which]
        return {"bootstrap.servers": node.sasl if which == "users" else node.kafka, **login(ways, USER, PASSWORD)}


@pytest.fixture(scope="session")
def sessions(request, tmp_path_factory):
    """`sessions(kind)`: all chosen tests of one kind, under way from the first time it is asked for.

    The end waits for those that nobody waited for.
    """
    made = {}

    def of(kind):
        if kind not in made:
            chosen = [item.callspec.params["case"] for item in request.session.items
                      if item.originalname == test_librdkafka.__name__ and item.callspec.params["kind"] == kind]
            made[kind] = Session(kind, tmp_path_factory.mktemp(f"librdkafka-{kind}"), chosen)
        return made[kind]

    yield of
    for one in made.values():
        for future in one.futures.values():
            future.cancel() or future.result()
        for node in one.nodes.values():
            node.kill()


def pytest_generate_tests(metafunc):
    if "case" not in metafunc.fixturenames:
        return
    asked = metafunc.config.getoption("--broker")
    wanted = [(kind, case) for kind in KINDS for case in ALLOWED
              if asked in (kind, "both") or asked is None and (kind == "pluvio" or case.number in ORACLE)]
    metafunc.parametrize("kind, case", wanted, ids=str)


def test_librdkafka(sessions, kind, case):
    outcome = sessions(kind).futures[case].result()
    assert outcome.of(case) == "PASSED", f"{outcome.reason()}\n{outcome.log[-3_000:]}"


