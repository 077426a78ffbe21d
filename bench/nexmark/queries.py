"""The queries: which topics each one reads, and the statements of its file."""

import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
ALL = [f"q{n}" for n in range(23)]
TOPICS = ("person", "auction", "bid")
BESIDE_BID = {"q4": ("auction",), "q6": ("auction",), "q9": ("auction",), "q20": ("auction",)}
READS = {query: ("bid", *BESIDE_BID.get(query, ())) for query in ALL} | {
    "q3": ("auction", "person"), "q8": ("auction", "person")}
NOT_IN_FLINK = {"q6": "Flink's OVER takes no input that changes its rows"}


def chosen(words):
    """The queries of a comma-separated list, or all."""
    names = words.split(",") if words else ALL
    unknown = [name for name in names if name not in ALL]
    if unknown:
        raise SystemExit(f"no such query: {', '.join(unknown)}")
    return names


def statements(path, **values):
    """The file's statements; ${NAME} in them becomes the value of that name."""
    text = path.read_text()
    for name, value in values.items():
        text = text.replace("${%s}" % name, str(value))
    return [each.strip() for each in re.split(r";\s*(?:\n|$)", text) if each.strip()]


def pluvio(query):
    """(what has to be there first, the query itself): statements for Pluvio."""
    found = statements(HERE / "pluvio" / f"{query}.sql")
    first = next(i for i, each in enumerate(found) if "CREATE MATERIALIZED VIEW" in each)
    return found[:first], found[first:]


def dropped(made):
    """What undoes these statements."""
    kinds = (re.search(r"^CREATE (SINK|MATERIALIZED VIEW|TABLE|STREAM) (\w+)", each, re.M) for each in reversed(made))
    return [f"DROP {kind[1]} {kind[2]}" for kind in kinds if kind]
