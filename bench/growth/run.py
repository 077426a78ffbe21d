"""How the cost of the storm job grows: more events, more keys in the looked-up table, more partitions.

    python bench/growth/run.py --data /tmp/growth

One thing grows at a time; the others stay at 1,000,000 events, 1,000,000 persons, 4 partitions. Writes
bench/results/growth.json: for each step the seconds and CPU seconds a million events, and whether the sums are right.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from machine import machine, pluvio_binary, pluvio_commit  # noqa: E402

BASE = {"events": 1_000_000, "persons": 1_000_000, "partitions": 4}
STEPS = {
    "events": [100_000, 1_000_000, 3_000_000],
    "persons": [10_000, 100_000, 1_000_000, 5_000_000],
    "partitions": [1, 4, 16, 64, 256],
}
SECONDS_MAX = 600


def generate(folder, events, persons):
    """Makes the input unless it is there; what the sums over the result must be."""
    subprocess.run([sys.executable, str(HERE.parent / "storm" / "generate.py"), "--out", str(folder),
                    "--payments", str(events), "--persons", str(persons)], check=True)
    return json.loads((folder / "expected.json").read_text())["expected"]


def measure(binary, folder, expected, step, runs):
    command = [str(binary), "bench", "storm", "--events", str(folder), "--partitions", str(step["partitions"]), "--json"]
    seconds, cpu, memory = [], [], []
    for _ in range(runs):
        done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=True, timeout=SECONDS_MAX)
        result = json.loads(done.stdout.strip().splitlines()[-1])
        right = (result["result"]["rows"] == expected["rows"]
                 and round(result["result"]["amount"] * 100) == expected["cents"]
                 and result["result"]["with_person"] == expected["rows"] - expected["unknown_persons"])
        if not right:
            raise SystemExit(f"{step}: the sums are {result['result']}, expected {expected}")
        millions = expected["rows"] / 1e6
        seconds.append(result["seconds"] / millions)
        cpu.append(result["cpu_seconds"] / millions)
        memory.append(result["rss_mb_max"])
    return {**step, "seconds_per_million": round(statistics.median(seconds), 3),
            "cpu_seconds_per_million": round(statistics.median(cpu), 3), "rss_mb_max": max(memory)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("/tmp/growth"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pluvio", type=pathlib.Path, default=None)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results" / "growth.json")
    parser.add_argument("--note", default="")
    args = parser.parse_args()
    binary = args.pluvio or pluvio_binary()
    results = {}
    for name, values in STEPS.items():
        results[name] = []
        for value in values:
            step = {**BASE, name: value}
            expected = generate(args.data, step["events"], step["persons"])
            results[name].append(measure(binary, args.data, expected, step, args.runs))
            print(name, json.dumps(results[name][-1]), flush=True)
    shutil.rmtree(args.data, ignore_errors=True)
    record = {"benchmark": "growth", "note": args.note, "machine": machine(), "commit": pluvio_commit(), "steps": results}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
