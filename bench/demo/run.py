"""The main job at full rate: `pluvio demo`, generator included, on this machine.

    python bench/demo/run.py [--rate 100000] [--duration 60s] [--runs 1]

Writes bench/results/demo.json: each run's own figures, and whether the aims were reached.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from machine import machine, pluvio_binary, pluvio_commit  # noqa: E402

AIMS = {"latency_ms_p99_max": 1_000, "rss_mb_max": 1_024, "events_per_second_min_share_of_rate": 0.99}
# Loading the reference tables and the last commits come on top of the duration itself.
EXTRA_SECONDS_MAX = 180


def seconds(duration):
    """60s, 2m or 1h in seconds."""
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--duration", default="60s")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--pluvio", type=pathlib.Path, default=None)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results" / "demo.json")
    parser.add_argument("--note", default="")
    args = parser.parse_args()

    runs = []
    for _ in range(args.runs):
        folder = tempfile.mkdtemp(prefix="pluvio-demo-")
        command = [str(args.pluvio or pluvio_binary()), "demo", "--rate", str(args.rate), "--duration", args.duration,
                   "--data-dir", folder, "--json"]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=True,
                                  timeout=seconds(args.duration) + EXTRA_SECONDS_MAX)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        figures = json.loads(done.stdout.strip().splitlines()[-1])
        figures["reached"] = {
            "rate": figures["events_per_second"] >= AIMS["events_per_second_min_share_of_rate"] * args.rate,
            "latency": figures["latency_ms_p99"] <= AIMS["latency_ms_p99_max"],
            "memory": figures["rss_mb_max"] <= AIMS["rss_mb_max"],
            "exact": figures["events_in"] == figures["rows_enriched"] == figures["lake_rows"],
        }
        print(json.dumps(figures, indent=1), flush=True)
        runs.append(figures)
    record = {"benchmark": "demo", "rate": args.rate, "duration": args.duration, "aims": AIMS, "note": args.note,
              "machine": machine(), "commit": pluvio_commit(), "runs": runs}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    if not all(all(run["reached"].values()) for run in runs):
        sys.exit(1)


if __name__ == "__main__":
    main()
