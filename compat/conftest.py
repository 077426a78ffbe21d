"""Fixtures: a platform per test, its log shown when the test fails."""

import os
import pathlib
import random
import shutil

import pytest
from harness import DATA, Pluvio


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="replays a random test")
    parser.addoption("--kills", type=int, default=50, help="how often test_kill kills the process")


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
