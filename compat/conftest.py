"""Fixtures: a platform per test, its log shown when the test fails."""

import os
import pathlib
import random
import shutil

import kafka_client
import kafka_oracle
import pytest
from harness import DATA, Pluvio

pytest_plugins = ["brokers"]


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="replays a random test")
    parser.addoption("--kills", type=int, default=50, help="how often test_kill kills the process")
    parser.addoption("--view-kills", type=int, default=100, help="how often test_kill_views kills the process")
    parser.addoption("--broker", choices=["pluvio", "kafka", "both"],
                     help="what the clients' suites talk to: kafka runs them against the oracle; without it, a few run on both")


@pytest.fixture
def seed(request):
    """The test's seed; printed, so that a failure can be replayed with --seed."""
    value = request.config.getoption("--seed")
    value = random.SystemRandom().randrange(1 << 32) if value is None else value
    print(f"seed {value}: replay with --seed {value}")
    return value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash_failed = True
        for platform in getattr(item, "platforms", []):
            report.sections.append((f"end of {platform.log_path}", platform.log_tail(60)))
    return report


@pytest.fixture
def platform(request, tmp_path):
    """Makes platforms: `platform()` is an empty one, `platform(pipeline=FILE)` runs a file. All end with the test."""
    request.node.platforms = made = []

    def make(folder=None, start=True, **arguments):
        one = Pluvio(folder or tmp_path / f"platform-{len(made)}", **arguments)
        made.append(one)
        if start:
            one.start()
        return one

    yield make
    for one in made:
        one.kill()
        if getattr(request.node, "stash_failed", False):
            keep = artifacts() / f"{request.node.name}.log"
            shutil.copy(one.log_path, keep)
            print(f"log kept: {keep}")
        shutil.rmtree(one.data, ignore_errors=True)


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory):
    """One Apache Kafka for all tests of a run, which leave nothing behind in it."""
    # A consumer on its way out must not make a deleted topic again.
    properties = {"auto.create.topics.enable": "false"}
    broker = kafka_oracle.Kafka(tmp_path_factory.mktemp("apache-kafka"), properties)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture
def broker(request):
    """A broker without topics and groups: a platform of its own, or with --broker kafka the oracle."""
    if request.config.getoption("--broker") != "kafka":
        return request.getfixturevalue("platform")()
    oracle = request.getfixturevalue("apache_kafka")
    request.addfinalizer(lambda: kafka_client.delete_everything(oracle.kafka))
    return oracle


def artifacts():
    """Where logs of failures and screenshots go; not in the repository."""
    folder = pathlib.Path(os.environ.get("PLUVIO_ARTIFACTS", pathlib.Path.home() / ".cache/pluvio/artifacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def artifacts_folder():
    return artifacts()


@pytest.fixture
def shared_data():
    if not DATA.exists():
        pytest.skip(f"{DATA} is not here: put the flights and weblogs data beside the clone or set PLUVIO_TEST_DATA")
    return DATA


def pytest_generate_tests(metafunc):
    """A test of a client's suite that asks for a strategy is made for each that the client knows."""
    if "strategy" in metafunc.fixturenames and metafunc.cls is not None:
        metafunc.parametrize("strategy", metafunc.cls.kind.strategies)
