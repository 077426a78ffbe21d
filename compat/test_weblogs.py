"""A real web server's log through examples/weblogs/pipeline.sql: the parsed rows equal a parse in Python, and the lines
that are not log lines are dead letters with partition, offset and reason."""

import collections
import datetime
import gzip
import random
import re

import deltalake
from compare import same_rows
from harness import ROOT, until
from kafka_client import send_all

LINE = re.compile(
    r'^(\S+) \S+ (\S+) \[([^\]]+)\] "([A-Z]+) (\S+) (HTTP/[0-9.]+)" ([0-9]{3}) ([0-9]+|-) "([^"]*)" "([^"]*)"$')
MALFORMED = [
    b"",
    b"not a log line at all",
    b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /cut-in-the-mid',
    b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 2000 12 "-" "-"',
    b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "get / HTTP/1.1" 200 12 "-" "-"',
    "übergröße ünd mehr".encode(),
    b'{"json": "in the wrong place"}',
]


def none_if_dash(text):
    return None if text == "-" else text


def parse(line):
    """What the pipeline should make of a line, or None."""
    match = LINE.match(line)
    if not match:
        return None
    client, user, at, method, path, protocol, status, size, referrer, agent = match.groups()
    moment = datetime.datetime.strptime(at, "%d/%b/%Y:%H:%M:%S %z").astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return (moment, client, none_if_dash(user), method, path, protocol, int(status),
            int(size) if size != "-" else None, none_if_dash(referrer), agent)


def test_lines_become_rows_and_the_malformed_become_dead_letters(platform, shared_data, seed):
    lines = gzip.decompress((shared_data / "weblogs" / "apache_access.log.gz").read_bytes()).splitlines()
    assert len(lines) == 10_000
    generator = random.Random(seed)
    for bad in MALFORMED * 20:
        lines.insert(generator.randrange(len(lines)), bad)
    p = platform(pipeline=ROOT / "examples" / "weblogs" / "pipeline.sql")
    places = send_all(p.kafka, "weblog", lines)

    parsed = [parse(line.decode()) for line in lines]
    good = [row for row in parsed if row]
    bad = {place: line.decode() for place, line, row in zip(places, lines, parsed) if row is None}
    assert len(good) == 9_999, "one line of the real log is cut short"
    p.wait_for("SELECT count(*) FROM requests", len(good), 60)
    p.wait_for("SELECT count(*) FROM pluvio.dead_letters", len(bad), 30)

    columns = "requested_at, client, username, method, path, protocol, status, bytes, referrer, agent"
    same_rows("requests", p.sql(f"SELECT {columns} FROM requests"), good)
    letters = p.sql('SELECT stream, topic, partition, "offset", reason, value, at FROM pluvio.dead_letters')
    assert {(partition, offset): value for _, _, partition, offset, _, value, _ in letters} == bad
    for stream, topic, _, _, reason, _, at in letters:
        assert (stream, topic) == ("weblog", "weblog") and reason and at

    status = collections.defaultdict(lambda: [0, 0])
    for row in good:
        status[row[6]][0] += 1
        status[row[6]][1] += row[7] or 0
    sizes = {s: any(r[6] == s and r[7] is not None for r in good) for s in status}
    same_rows("by_status", p.sql("SELECT status, requests, bytes FROM by_status"),
              [(s, n, total if sizes[s] else None) for s, (n, total) in status.items()])

    sections = collections.defaultdict(list)
    for row in good:
        sections[re.sub(r"^/?([^/?#]*).*$", r"/\1", row[4])].append(row[1])
    same_rows("by_section", p.sql("SELECT section, requests, clients FROM by_section"),
              [(s, len(c), len(set(c))) for s, c in sections.items()])

    hours = collections.defaultdict(lambda: [0, 0])
    for row in good:
        hour = hours[row[0].replace(minute=0, second=0)]
        hour[0] += 1
        hour[1] += bool(re.search(r"(bot|crawler|spider)", row[9], re.IGNORECASE))
    same_rows("by_hour", p.sql("SELECT hour, requests, robots FROM by_hour"), [(h, n, r) for h, (n, r) in hours.items()])

    lake = str(p.data / "lake" / "requests")
    until("the lake has all rows", lambda: deltalake.DeltaTable(lake).to_pyarrow_table(columns=["status"]).num_rows == len(good), 60)
    table = deltalake.DeltaTable(lake).to_pyarrow_table(columns=columns.split(", "))
    same_rows("the lake", zip(*(column.to_pylist() for column in table.columns)), good)


def test_the_example_runs_from_the_clone(platform):
    """As examples/weblogs/README.md says: pluvio run, pluvio produce, pluvio sql."""
    folder = ROOT / "examples" / "weblogs"
    p = platform(pipeline=folder / "pipeline.sql")
    lines = gzip.decompress((folder / "access-2015-05.log.gz").read_bytes()).decode()
    p.cli("produce", "weblog", "--bootstrap", p.kafka, input=lines)
    p.wait_for("SELECT count(*) FROM requests", 1_999, 60)
    assert p.one("SELECT count(*) FROM pluvio.dead_letters") == 1
    assert p.one("SELECT sum(requests) FROM by_status") == 1_999
