"""Time from start to ready with an empty data folder, and resident memory at rest.

    python bench/start/run.py [--runs 20]

Ready is the first answer 200 of /health, asked again every millisecond. Writes bench/results/start.json.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from machine import machine, pluvio_binary, pluvio_commit  # noqa: E402

AIMS = {"ready_ms_max": 300, "idle_rss_mb_max": 60}
IDLE_SECONDS = 3
READY_SECONDS_MAX = 30


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def healthy(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def measure(binary):
    """One start: milliseconds until ready, resident MiB after IDLE_SECONDS at rest, CPU seconds used until then."""
    folder = tempfile.mkdtemp(prefix="pluvio-start-")
    kafka, postgres, http = free_ports(3)
    command = [str(binary), "serve", "--data-dir", folder, "--kafka-listen", f"127.0.0.1:{kafka}",
               "--postgres-listen", f"127.0.0.1:{postgres}", "--http-listen", f"127.0.0.1:{http}"]
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not healthy(http):
            if process.poll() is not None or time.monotonic() - started > READY_SECONDS_MAX:
                raise SystemExit(f"pluvio did not become ready (exit code {process.poll()})")
            time.sleep(0.001)
        ready_ms = 1_000 * (time.monotonic() - started)
        time.sleep(IDLE_SECONDS)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        rss_mb = int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return {"ready_ms": round(ready_ms, 1), "idle_rss_mb": round(rss_mb, 1), "cpu_seconds": cpu}
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--pluvio", type=pathlib.Path, default=None)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results" / "start.json")
    parser.add_argument("--note", default="")
    args = parser.parse_args()
    binary = args.pluvio or pluvio_binary()
    runs = [measure(binary) for _ in range(args.runs)]
    summary = {
        "ready_ms_median": round(statistics.median(r["ready_ms"] for r in runs), 1),
        "ready_ms_max": max(r["ready_ms"] for r in runs),
        "idle_rss_mb_median": round(statistics.median(r["idle_rss_mb"] for r in runs), 1),
        "idle_rss_mb_max": max(r["idle_rss_mb"] for r in runs),
    }
    record = {"benchmark": "start", **summary, "aims": AIMS, "note": args.note, "binary_mb": round(binary.stat().st_size / 2**20, 1),
              "machine": machine(), "commit": pluvio_commit(), "runs": runs}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(summary, indent=1))
    if summary["ready_ms_max"] > AIMS["ready_ms_max"] or summary["idle_rss_mb_max"] > AIMS["idle_rss_mb_max"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
