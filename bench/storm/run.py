"""The storm: Pluvio and its peers over the same payments, one after the other, on this machine.

    python bench/storm/run.py --data /tmp/storm [--runs 3] [--only duckdb,polars] [--pluvio PATH] [--note TEXT]

Makes the input if it is not there, runs everybody --runs times in turn (so that a busy moment of the machine does
not fall on one alone), takes each one's median, and writes bench/results/storm.json with the ratios to Pluvio.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from machine import machine, pluvio_binary, pluvio_commit  # noqa: E402

PEERS = {
    "duckdb": ["duckdb_batch.py"],
    "polars": ["polars_batch.py"],
    "spark": ["spark_stream.py"],
    "spark_one_batch": ["spark_stream.py", "--files-per-trigger", "10"],
    "pathway": ["pathway_stream.py"],
}
SECONDS_MAX = 300


def last_json(text):
    """The last line of `text` that is a JSON object. Progress bars may share its line."""
    for line in reversed(text.splitlines()):
        start = line.find('{"')
        if start >= 0:
            return json.loads(line[start:])
    raise ValueError("no JSON object in the output")


def run_one(name, command):
    """One measurement, or {"peer", "error"}; never longer than SECONDS_MAX."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"peer": name, "error": f"took more than {SECONDS_MAX} s"}
    if done.returncode != 0:
        return {"peer": name, "error": (done.stderr or done.stdout).strip()[-400:]}
    try:
        return last_json(done.stdout)
    except ValueError as error:
        return {"peer": name, "error": str(error)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("/tmp/storm"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="names, comma-separated: pluvio, " + ", ".join(PEERS))
    parser.add_argument("--pluvio", type=pathlib.Path, default=None, help="the binary (default: the release build)")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results" / "storm.json")
    parser.add_argument("--note", default="", help="a remark kept with the result")
    args = parser.parse_args()

    subprocess.run([sys.executable, str(HERE / "generate.py"), "--out", str(args.data)], check=True)
    binary = args.pluvio or pluvio_binary()
    wanted = args.only.split(",") if args.only else ["pluvio", *PEERS]
    scratch = args.data / "out"
    runs = {name: [] for name in wanted}
    for turn in range(args.runs):
        for name in wanted:
            if name == "pluvio":
                if not binary.exists():
                    runs[name].append({"peer": name, "error": f"{binary} is not built"})
                    continue
                command = [str(binary), "bench", "storm", "--events", str(args.data), "--json"]
            else:
                script, *rest = PEERS[name]
                command = [sys.executable, str(HERE / "peers" / script), *rest, "--data", str(args.data), "--out", str(scratch)]
            result = run_one(name, command)
            runs[name].append(result)
            print(f"{turn + 1}/{args.runs} {name:16} {result.get('seconds', result.get('error'))}", flush=True)
    shutil.rmtree(scratch, ignore_errors=True)

    medians = {}
    for name, results in runs.items():
        good = [r["seconds"] for r in results if "seconds" in r]
        medians[name] = round(statistics.median(good), 3) if good else None
    ours = medians.get("pluvio")
    record = {
        "benchmark": "storm",
        "what": "1,000,000 JSON payments of about 950 bytes enriched with two names; seconds without loading the reference tables",
        "note": args.note,
        "machine": machine(),
        "load_average_at_end": [round(x, 2) for x in os.getloadavg()],
        "commit": pluvio_commit(),
        "input": json.loads((args.data / "expected.json").read_text()),
        "seconds_median": medians,
        "times_pluvio": {n: round(s / ours, 2) for n, s in medians.items() if ours and s and n != "pluvio"},
        "runs": runs,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({"seconds_median": medians, "times_pluvio": record["times_pluvio"]}, indent=1))
    if any("error" in r for results in runs.values() for r in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
