"""The ad events of the Yahoo Streaming Benchmark, and what its answer is.

100 campaigns of 10 ads; 100 users, 100 pages, as names of 36 letters; an event is a view, a click or a purchase with equal
chance. About 240 bytes of JSON. `Ads` counts the views of each campaign and window while it makes the events.
"""

import collections
import pathlib
import sys
import uuid

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from load import Field, Json, digits, texts  # noqa: E402

CAMPAIGNS, ADS_PER_CAMPAIGN, NAMES = 100, 10, 100
TYPES = ["banner", "modal", "sponsored-search", "mail", "mobile"]
ACTIONS = ["view", "click", "purchase"]
WINDOW_MS = 10_000
TOPIC = "ad_events"
LAYOUT = Json('{"user_id":"', Field("user", 36), '","page_id":"', Field("page", 36), '","ad_id":"', Field("ad", 36),
              '","ad_type":"', Field("type", 16), '","event_type":"', Field("action", 8), '","event_time":',
              Field("at", 13), ',"ip_address":"1.2.3.4"}')


class Ads:
    """A source of events; the same seed gives the same ones."""

    def __init__(self, seed=1):
        self.random = numpy.random.default_rng(seed)
        self.campaigns = self._names(CAMPAIGNS)
        self.ads = self._names(CAMPAIGNS * ADS_PER_CAMPAIGN)
        self.fields = {"user": texts(self._names(NAMES)), "page": texts(self._names(NAMES)), "ad": texts(self.ads),
                       "type": texts(TYPES), "action": texts(ACTIONS)}
        self.counts = collections.Counter()

    def _names(self, count):
        return [str(uuid.UUID(bytes=self.random.bytes(16), version=4)) for _ in range(count)]

    def campaign_of(self):
        """Pairs of an ad and its campaign."""
        return [(ad, self.campaigns[i // ADS_PER_CAMPAIGN]) for i, ad in enumerate(self.ads)]

    def batch(self, times_ms):
        """A batch of events at these times."""
        chosen = {name: self.random.integers(0, len(rows), len(times_ms)) for name, rows in self.fields.items()}
        viewed = chosen["action"] == ACTIONS.index("view")
        windows = times_ms[viewed] // WINDOW_MS
        counted = numpy.unique(windows * CAMPAIGNS + chosen["ad"][viewed] // ADS_PER_CAMPAIGN, return_counts=True)
        for place, count in zip(*map(numpy.ndarray.tolist, counted)):
            self.counts[place] += count
        values = {name: rows[chosen[name]] for name, rows in self.fields.items()}
        return LAYOUT.encode({**values, "at": digits(times_ms, 13)})

    def expected(self):
        """Views by (campaign, start of the window in milliseconds)."""
        return {(self.campaigns[place % CAMPAIGNS], place // CAMPAIGNS * WINDOW_MS): count
                for place, count in self.counts.items()}
