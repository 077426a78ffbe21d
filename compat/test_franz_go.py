"""franz-go, held to the suite of all clients."""

from client_suite import ClientSuite
from clients.franz import Franz


class TestFranzGo(ClientSuite):
    kind = Franz
