"""Who may use the Kafka door: TLS, SASL, access rules and quotas, as unmodified clients see them."""

import socket
import ssl
import subprocess
import time

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from certificates import authority, certificate
from harness import until
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.protocol.admin import AlterClientQuotasRequest

PASSWORDS = {"admin": "the admin's word", "kim": "the rain in spain"}
SASL = ["--kafka-auth", "sasl", "--kafka-super-users", "admin"]


@pytest.fixture
def certificates(tmp_path):
    folder = authority(tmp_path / "certificates")
    certificate(folder, "server", "/CN=localhost")
    return folder


def tls(folder, *more):
    return ["--kafka-tls-cert", str(folder / "server.pem"), "--kafka-tls-key", str(folder / "server.key"), *more]


@pytest.fixture
def guarded(platform):
    """Starts a platform with the users of PASSWORDS."""

    def start(*arguments):
        p = platform(arguments=[*SASL, *arguments], start=False)
        for user, password in PASSWORDS.items():
            p.cli("user", "add", user, "--password-stdin", "--data-dir", str(p.data), input=password + "\n")
        p.start()
        return p

    return start


def settings(p, user="admin", mechanism="SCRAM-SHA-256", password=None, ca=None, **more):
    """librdkafka's settings."""
    return {
        "bootstrap.servers": p.kafka,
        "security.protocol": "SASL_SSL" if ca else "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password or PASSWORDS[user],
        **({"ssl.ca.location": str(ca / "ca.pem")} if ca else {}),
        **more,
    }


def make_topics(p, *names, **how):
    admin = AdminClient(settings(p, **how))
    for future in admin.create_topics([NewTopic(name, 1) for name in names]).values():
        future.result(20)
    return admin


def send(config, topic, values):
    """Sends, and gives the errors of what was refused."""
    refused = []
    producer = Producer({**config, "message.timeout.ms": 15_000})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: refused.append(error.name()) if error else None)
    producer.flush(30)
    return refused


def read(config, topic, count, group="readers", seconds=30):
    consumer = Consumer({**config, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found, deadline = [], time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            consumer.close()
            raise KafkaException(message.error())
        found.append(message.value())
    consumer.close()
    return found


def rule(resource, name, operation, principal="User:kim", pattern=ResourcePatternType.LITERAL,
         permission=AclPermissionType.ALLOW):
    return AclBinding(resource, name, pattern, principal, "*", operation, permission)


def add(admin, *rules):
    for future in admin.create_acls(list(rules)).values():
        future.result(20)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_confluent_every_mechanism(guarded, certificates, mechanism, encrypted):
    p = guarded(*(tls(certificates) if encrypted else []))
    how = {"mechanism": mechanism, "ca": certificates if encrypted else None}
    make_topics(p, "t", **how)
    assert send(settings(p, **how), "t", [b"a", b"b"]) == []
    assert read(settings(p, **how), "t", 2) == [b"a", b"b"]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
def test_kafka_python_over_tls(guarded, certificates, mechanism):
    p = guarded(*tls(certificates))
    make_topics(p, "t", ca=certificates)
    config = {
        "bootstrap_servers": p.kafka, "security_protocol": "SASL_SSL", "sasl_mechanism": mechanism,
        "sasl_plain_username": "admin", "sasl_plain_password": PASSWORDS["admin"],
        "ssl_context": ssl.create_default_context(cafile=certificates / "ca.pem"),
    }
    producer = KafkaProducer(**config)
    producer.send("t", b"rain").get(20)
    producer.close()
    consumer = KafkaConsumer("t", **config, auto_offset_reset="earliest", consumer_timeout_ms=20_000)
    assert next(consumer).value == b"rain"
    consumer.close()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
def test_kcat_over_tls(guarded, certificates, mechanism):
    p = guarded(*tls(certificates))
    make_topics(p, "t", ca=certificates)
    options = settings(p, mechanism=mechanism, ca=certificates)
    flags = [flag for name, value in options.items() if name != "bootstrap.servers" for flag in ("-X", f"{name}={value}")]

    def kcat(*arguments, input=None):
        return subprocess.run(["kcat", "-b", p.kafka, *flags, *arguments], input=input, capture_output=True, text=True,
                              timeout=60, check=True).stdout

    kcat("-P", "-t", "t", input="one\ntwo\n")
    assert kcat("-C", "-t", "t", "-e", "-q") == "one\ntwo\n"


def commands(p, *words, user="admin", password=None, **more):
    """A command of ours that speaks Kafka, with a user's password."""
    secret = {"PLUVIO_PASSWORD": password or PASSWORDS[user]}
    return p.cli(*words, "--bootstrap", p.kafka, "--user", user, env=secret, **more)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_our_commands_over_tls(guarded, certificates, mechanism):
    p = guarded(*tls(certificates))
    how = ["--tls-ca", str(certificates / "ca.pem"), "--sasl-mechanism", mechanism]
    commands(p, "topic", "create", "t", "--partitions", "2", *how)
    commands(p, "produce", "t", *how, input="one\ntwo\n")
    read = commands(p, "consume", "t", "--from-beginning", "--count", "2", *how)
    assert sorted(read.stdout.split()) == ["one", "two"]
    assert "2 events" in commands(p, "topic", "describe", "t", *how).stdout


def test_our_commands_say_why_they_are_not_let_in(guarded, certificates):
    p = guarded(*tls(certificates))
    trust = ["--tls-ca", str(certificates / "ca.pem")]
    wrong = commands(p, "topic", "list", *trust, password="not this", check=False)
    assert wrong.returncode == 1 and "admin" in wrong.stderr and "pluvio user list" in wrong.stderr
    plain = p.cli("topic", "list", "--bootstrap", p.kafka, check=False)
    assert plain.returncode == 1 and "--tls" in plain.stderr and "--user" in plain.stderr
    stranger = commands(p, "topic", "list", "--tls", check=False)
    assert stranger.returncode == 1 and "--tls-ca" in stranger.stderr


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
@pytest.mark.parametrize("user,password", [("admin", "a wrong password"), ("nobody", "the admin's word")])
def test_a_wrong_password_is_refused(guarded, mechanism, user, password):
    p = guarded()
    errors = []
    admin = AdminClient({**settings(p, user, mechanism, password), "error_cb": lambda error: errors.append(error)})
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=5)
    until("librdkafka names the reason", lambda: admin.poll(0.1) or any("authentication failed" in e.str().lower() for e in errors), 10)


def test_without_a_proof_there_is_nothing(guarded):
    p = guarded()
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": p.kafka}).list_topics(timeout=5)


def test_rules_decide_what_a_user_may_do(guarded):
    p = guarded()
    admin = make_topics(p, "open", "closed", "log-1")
    kim = settings(p, "kim")
    assert set(AdminClient(kim).list_topics(timeout=10).topics) == set()
    assert send(kim, "open", [b"x"]) == ["TOPIC_AUTHORIZATION_FAILED"]
    add(admin, rule(ResourceType.TOPIC, "open", AclOperation.WRITE),
        rule(ResourceType.TOPIC, "open", AclOperation.READ),
        rule(ResourceType.TOPIC, "log-", AclOperation.WRITE, pattern=ResourcePatternType.PREFIXED),
        rule(ResourceType.GROUP, "kims", AclOperation.READ))
    assert send(kim, "open", [b"x"]) == [] and send(kim, "log-1", [b"x"]) == []
    assert send(kim, "closed", [b"x"]) == ["TOPIC_AUTHORIZATION_FAILED"]
    assert set(AdminClient(kim).list_topics(timeout=10).topics) == {"open", "log-1"}
    assert read(kim, "open", 1, group="kims") == [b"x"]
    with pytest.raises(KafkaException, match="GROUP_AUTHORIZATION_FAILED"):
        read(kim, "open", 1, group="others")
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        make_topics(p, "new", user="kim")
    deny = rule(ResourceType.TOPIC, "*", AclOperation.WRITE, permission=AclPermissionType.DENY)
    add(admin, deny)
    assert send(kim, "open", [b"x"]) == ["TOPIC_AUTHORIZATION_FAILED"], "a denial goes first"
    everything = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    assert len(admin.describe_acls(everything).result(20)) == 5
    denials = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, "User:kim", None, AclOperation.ANY, AclPermissionType.DENY)
    assert admin.delete_acls([denials])[denials].result(20) == [deny]
    p.restart()
    assert send(kim, "open", [b"x"]) == [], "rules survive a restart"


def test_users_come_and_go_while_it_runs(guarded):
    p = guarded()
    admin = make_topics(p, "t")
    add(admin, rule(ResourceType.TOPIC, "t", AclOperation.ALL, principal="User:zoe"))
    change = UserScramCredentialUpsertion("zoe", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192), b"over the protocol")
    admin.alter_user_scram_credentials([change])["zoe"].result(20)
    zoe = settings(p, "zoe", "SCRAM-SHA-512", "over the protocol")
    assert send(zoe, "t", [b"x"]) == []
    assert set(admin.describe_user_scram_credentials().result(20)) == {"admin", "kim", "zoe"}
    p.cli("user", "add", "zoe", "--password-stdin", "--data-dir", str(p.data), input="on the machine\n")
    zoe = settings(p, "zoe", "SCRAM-SHA-512", "on the machine")
    until("the new password counts", lambda: send({**zoe, "message.timeout.ms": 1500}, "t", [b"x"]) == [], 20)
    assert "zoe" in p.cli("user", "list", "--data-dir", str(p.data)).stdout
    p.cli("user", "remove", "zoe", "--data-dir", str(p.data))
    until("zoe is gone", lambda: set(admin.describe_user_scram_credentials().result(20)) == {"admin", "kim"}, 10)


def test_certificates_name_users(platform, certificates):
    certificate(certificates, "writer", "/C=SE/O=Acme/CN=writer")
    certificate(certificates, "reader", "/C=SE/O=Acme/CN=reader")
    p = platform(arguments=[*tls(certificates, "--kafka-tls-client-ca", str(certificates / "ca.pem")),
                            "--kafka-auth", "tls", "--kafka-super-users", "CN=writer,O=Acme,C=SE"])

    def config(name):
        return {
            "bootstrap.servers": p.kafka, "security.protocol": "SSL", "ssl.ca.location": str(certificates / "ca.pem"),
            "ssl.certificate.location": str(certificates / f"{name}.pem"), "ssl.key.location": str(certificates / f"{name}.key"),
        }

    admin = AdminClient(config("writer"))
    admin.create_topics([NewTopic("t", 1)])["t"].result(20)
    assert send(config("writer"), "t", [b"x"]) == []
    assert send(config("reader"), "t", [b"x"]) == ["TOPIC_AUTHORIZATION_FAILED"]
    add(admin, rule(ResourceType.TOPIC, "t", AclOperation.WRITE, principal="User:CN=reader,O=Acme,C=SE"))
    assert send(config("reader"), "t", [b"x"]) == []
    bare = {k: v for k, v in config("reader").items() if "certificate" not in k and "key" not in k}
    with pytest.raises(KafkaException):
        AdminClient(bare).list_topics(timeout=5)


def test_a_new_certificate_counts_without_a_restart(guarded, certificates):
    p = guarded(*tls(certificates))

    def serial():
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        with socket.create_connection(("127.0.0.1", p.kafka_port), 5) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as stream:
                return stream.getpeercert()["serialNumber"]

    before = serial()
    old = Producer(settings(p, ca=certificates))
    make_topics(p, "t", ca=certificates)
    old.produce("t", b"before")
    assert old.flush(20) == 0
    certificate(certificates, "server", "/CN=localhost")
    until("the new certificate is shown", lambda: serial() != before, 10)
    old.produce("t", b"after")
    assert old.flush(20) == 0, "open connections go on"


def test_files_that_do_not_fit_are_named(guarded, certificates, platform):
    certificate(certificates, "other", "/CN=localhost")
    wrong = ["--kafka-tls-cert", str(certificates / "server.pem"), "--kafka-tls-key"]
    for key, said in [("missing.key", "missing.key"), ("other.key", "is "), ("ca.pem", "private key")]:
        p = platform(arguments=[*wrong, str(certificates / key)], start=False)
        p.start(wait=False)
        assert p.process.wait(20) != 0
        assert "TLS" in p.log_tail() and said in p.log_tail()


def test_quotas_slow_producers_and_consumers(guarded):
    p = guarded()
    make_topics(p, "t")
    admin = KafkaAdminClient(bootstrap_servers=p.kafka, security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-256",
                             sasl_plain_username="admin", sasl_plain_password=PASSWORDS["admin"])
    payload = [bytes(10_000) for _ in range(40)]

    def timed(work):
        started = time.monotonic()
        work()
        return time.monotonic() - started

    throttled = []
    config = {**settings(p), "linger.ms": 5, "batch.num.messages": 2, "compression.type": "none",
              "throttle_cb": lambda event: throttled.append(event.throttle_time)}
    quick = timed(lambda: send(config, "t", payload))
    alter_quota(admin, "admin", "producer_byte_rate", 100_000.0)
    slow = timed(lambda: send(config, "t", payload))
    # 400 kB at 100 kB a second, of which one second's worth is free.
    assert slow > 2 and slow > 4 * quick, (quick, slow)
    assert throttled and max(throttled) > 0
    quick = timed(lambda: read(settings(p), "t", 40, group="one"))
    alter_quota(admin, "admin", "consumer_byte_rate", 100_000.0)
    slow = timed(lambda: read(settings(p, **{"fetch.message.max.bytes": 50_000}), "t", 80, group="two", seconds=60))
    assert slow > 4, (quick, slow)
    admin.close()


def alter_quota(admin, user, key, value):
    """kafka-python has the request, but no method for it."""
    entry = AlterClientQuotasRequest.EntryData
    change = entry(entity=[entry.EntityData(entity_type="user", entity_name=user)],
                   ops=[entry.OpData(key=key, value=value, remove=False)])
    request = AlterClientQuotasRequest(entries=[change], validate_only=False)
    answer = admin._manager.run(admin._send_request_to_controller, request)
    assert [result.error_code for result in answer.entries] == [0], answer
