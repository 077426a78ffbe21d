"""Pathway: its incremental engine over the same files, in static mode so that it ends, CSV out.

Its Delta sink, the one that writes Parquet, needs a licence key from a sign-up, so the free CSV sink stands in.

Pathway loads the reference tables as part of the same run. So that the comparison is not unfair to it, loading them
alone is measured first and taken off: `seconds` is the whole run less `load_seconds`, `seconds_whole` is all of it.
"""

import importlib.metadata
import os
import time

os.environ.setdefault("PATHWAY_THREADS", "2")  # read at import; without it one core stays idle
import pathway as pw
from measure import Measured, arguments, check, report

args = arguments()


class Name(pw.Schema):
    key: int
    name: str


class Payment(pw.Schema):
    person_id: int
    company_id: int
    amount: float
    paid_at: str


def names(table):
    """The reference table; `id` is a reserved name in Pathway, so its header is written anew, unmeasured."""
    path = args.out / f"{table}.csv"
    if not path.exists():
        text = (args.data / f"{table}.csv").read_text()
        path.write_text("key,name" + text[text.index("\n"):])
    return pw.io.csv.read(path, schema=Name, mode="static")


def run():
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


pw.io.null.write(names("persons"))
pw.io.null.write(names("companies"))
started = time.monotonic()
run()
load_seconds = round(time.monotonic() - started, 3)
pw.internals.parse_graph.G.clear()

persons, companies = names("persons"), names("companies")
payments = pw.io.jsonlines.read(args.data / "payments", schema=Payment, mode="static")
payments = payments.with_columns(paid_at=pw.this.paid_at.dt.strptime("%Y-%m-%dT%H:%M:%S.%fZ"))
step = payments.join_left(persons, pw.left.person_id == pw.right.key).select(
    pw.left.person_id, pw.left.company_id, pw.left.amount, pw.left.paid_at, person=pw.right.name)
enriched = step.join_left(companies, pw.left.company_id == pw.right.key).select(
    pw.left.person_id, pw.left.person, pw.left.company_id, company=pw.right.name,
    amount=pw.left.amount, paid_at=pw.left.paid_at)
pw.io.csv.write(enriched, args.out / "enriched.csv")
with Measured() as measured:
    run()
rows = check(args, [args.out / "enriched.csv"], reader="read_csv",
             options=", nullstr = 'None', allow_quoted_nulls = true")
whole = measured.seconds
measured.seconds = round(whole - load_seconds, 3)
report("pathway", importlib.metadata.version("pathway"), measured, rows, load_seconds, kind="stream", sink="csv", seconds_whole=whole)
