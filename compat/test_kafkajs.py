"""kafkajs, held to the suite of all clients. It knows one assignment strategy and no static members."""

from client_suite import ClientSuite
from clients.kafka_js import KafkaJs


class TestKafkaJs(ClientSuite):
    kind = KafkaJs
