"""confluent-kafka (librdkafka), kafka-python and aiokafka, held to the suite of all clients."""

from client_suite import ClientSuite
from clients.aio import Aio
from clients.confluent import Confluent
from clients.kafka_python import KafkaPython


class TestConfluent(ClientSuite):
    kind = Confluent


class TestKafkaPython(ClientSuite):
    kind = KafkaPython


class TestAio(ClientSuite):
    kind = Aio
