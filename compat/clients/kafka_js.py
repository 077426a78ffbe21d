"""kafkajs, through the program in kafkajs/."""

import os

from . import prepared
from .remote import Remote


class KafkaJs(Remote):
    name = "kafkajs"
    strategies = ("roundrobin",)
    static_members = False

    @classmethod
    def command(cls):
        return [prepared.tool("node", "nodejs"), prepared.HERE / "kafkajs" / "main.js"]

    @classmethod
    def environment(cls):
        return {**os.environ, "NODE_PATH": str(prepared.node_modules("kafkajs"))}
