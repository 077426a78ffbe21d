"""franz-go, through the program in franz_go/."""

from . import prepared
from .remote import Remote, RemoteMember, RemoteTransactional


class Franz(Remote):
    name = "franz-go"
    strategies = ("range", "roundrobin", "sticky", "cooperative-sticky", "server")

    @classmethod
    def command(cls):
        return [prepared.go_program("franz_go")]

    def consuming_transaction(self, group, topic, count, transactional_id):
        """In franz-go, the consumer and the producer are one client."""
        member, number = next(self.numbers), next(self.numbers)
        self.ask("session", member=member, group=group, topics=[topic], count=count, transactions=number,
                 id=transactional_id)
        return self.keep(RemoteMember(self, member)), RemoteTransactional(self, number)
