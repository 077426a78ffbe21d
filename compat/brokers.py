"""Pytest plugin: a test that asks for `node` runs against pluvio, and against a real Apache Kafka as the oracle.

`--broker` says which (pluvio, kafka, both); without it every test runs on pluvio, and those marked `oracle` on both, so
that what the suites hold Pluvio to stays what Kafka does. One node of each kind serves all tests: each takes topics
and groups of its own by the fixture `name`. A test that stops its node asks for `own_node`.
"""

import re

import pytest
from harness import Pluvio
from kafka_oracle import Kafka, Tools

KINDS = {"pluvio": Pluvio, "kafka": Kafka}


def pytest_configure(config):
    config.addinivalue_line("markers", "oracle: runs against Apache Kafka too, without being asked")
    config.addinivalue_line("markers", "slow_on_kafka: runs against Apache Kafka only if that is asked for")
    config.addinivalue_line("markers", "pending(reason): Pluvio does not serve this yet; Apache Kafka does")


def kinds_of(config, oracle):
    asked = config.getoption("--broker")
    if asked == "both" or (asked is None and oracle):
        return list(KINDS)
    return [asked or "pluvio"]


def pytest_generate_tests(metafunc):
    for fixture, scope in (("node", "session"), ("users_node", "session"), ("own_node", None)):
        if fixture in metafunc.fixturenames:
            marked = metafunc.definition.get_closest_marker
            oracle = bool(marked("oracle")) and not marked("slow_on_kafka")
            metafunc.parametrize(fixture, kinds_of(metafunc.config, oracle), indirect=True, scope=scope)


def pytest_collection_modifyitems(items):
    for item in items:
        pending = item.get_closest_marker("pending")
        kinds = getattr(item, "callspec", None) and item.callspec.params.values()
        if pending and "kafka" not in (kinds or ()):
            item.add_marker(pytest.mark.xfail(reason=f"not served yet: {pending.args[0]}", strict=True))


def with_users(kind, folder, users, session_lifetime_ms=0):
    """A node, not started, where `users` ({name: password}) log in at `.sasl` and may do everything."""
    if kind == "kafka":
        return Kafka(folder, {"allow.everyone.if.no.acl.found": "false", "connections.max.reauth.ms": session_lifetime_ms,
                              "super.users": ";".join(f"User:{user}" for user in ["ANONYMOUS", *users])}, users=users)
    one = Pluvio(folder, arguments=["--kafka-auth", "sasl", "--kafka-super-users", ";".join(users),
                                    "--kafka-session-lifetime", f"{session_lifetime_ms} ms"])
    for user, password in users.items():
        one.cli("user", "add", user, "--password-stdin", "--data-dir", str(one.data), input=password + "\n")
    one.sasl = one.kafka
    return one


def made(kind, folder, **more):
    one = KINDS[kind](folder, **more)
    one.start()
    return one


@pytest.fixture(scope="session")
def node(request, tmp_path_factory):
    """The shared node: `.kafka` is its address, `.name` its kind."""
    one = made(request.param, tmp_path_factory.mktemp(request.param))
    yield one
    one.kill()


@pytest.fixture(scope="session")
def users_node(request, tmp_path_factory):
    """The shared node where `admin` logs in at `.sasl`, and where only what a rule allows is allowed to others."""
    one = with_users(request.param, tmp_path_factory.mktemp(f"{request.param}-users"), {"admin": "admin-secret"})
    one.start()
    yield one
    one.kill()


@pytest.fixture
def own_node(request, tmp_path):
    """A node for this test alone, which may stop, kill and start it."""
    one = made(request.param, tmp_path / request.param)
    yield one
    one.kill()


@pytest.fixture(autouse=True)
def shows_log(request):
    """A failed test shows the end of its node's log."""
    for fixture in ("node", "users_node", "own_node"):
        if fixture in request.fixturenames:
            request.node.platforms = [request.getfixturevalue(fixture)]


@pytest.fixture(scope="session")
def tools():
    """Apache Kafka's command line tools."""
    one = Tools()
    yield one
    one.stop()


@pytest.fixture
def name(request):
    """A name of this test's own, for topics and groups."""
    return re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")[:200]
