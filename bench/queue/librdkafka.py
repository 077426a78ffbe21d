"""The load: librdkafka's own performance program, the same for both brokers, and `paced` for a fixed rate.

librdkafka comes from the source inside the crate rdkafka-sys and is built once, in ~/.cache/pluvio.
"""

import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
VERSION = "2.12.1"
CRATE = f"rdkafka-sys-4.10.0+{VERSION}"
SECONDS_MAX = 180
WITHOUT = [f"--disable-{part}" for part in ("ssl", "sasl", "gssapi", "curl", "zstd")]
PRODUCED = re.compile(r"% (\d+) messages produced .* (\d+) delivered .* (\d+) failed\) in (\d+)ms")
CONSUMED = re.compile(r"% (\d+) messages \(\d+ bytes\) consumed in (\d+)ms")


def cache():
    return pathlib.Path(os.environ.get("PLUVIO_CACHE", pathlib.Path.home() / ".cache/pluvio"))


def make(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}")


def built():
    """The folder of librdkafka with its library and its performance program, built if it is not there."""
    folder = cache() / f"librdkafka-{VERSION}"
    program = folder / "examples/rdkafka_performance"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            sources = sorted((pathlib.Path.home() / ".cargo/registry/src").glob(f"*/{CRATE}/librdkafka"))
            if not sources:
                raise RuntimeError(f"no source of librdkafka: `cargo fetch` a package that needs {CRATE}")
            shutil.copytree(sources[0], folder)
        if not program.exists():
            if not (folder / "Makefile.config").exists():
                make(["./configure", *WITHOUT], folder)
            make(["make", "-C", "src", "librdkafka.a"], folder)
            make(["make", "-C", "examples", "rdkafka_performance"], folder)
    return folder


def paced_program():
    """The compiled `paced`, made again when its source is newer."""
    folder, source = built(), HERE / "paced.c"
    program = folder / "paced"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        linked = [folder / "src/librdkafka.a", "-lm", "-lz", "-ldl", "-lpthread", "-lrt"]
        make(["gcc", "-O2", "-I", folder / "src", source, *linked, "-o", program], HERE)
    return program


def configured(options):
    return [word for name, value in options.items() for word in ("-X", f"{name}={value}")]


def start(arguments):
    """Starts the performance program."""
    program = built() / "examples/rdkafka_performance"
    return subprocess.Popen([program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace")


def start_producer(address, topic, messages, size, acks, linger_ms, more=None):
    """Sends as fast as it can, to partitions of the client's own choice. `more` are options of the client."""
    options = {"linger.ms": linger_ms, **(more or {})}
    return start(["-P", "-b", address, "-t", topic, "-s", size, "-c", messages, "-a", acks, *configured(options)])


def start_consumer(address, topic, partitions, messages):
    """Reads all partitions from the beginning, as fast as it can, until it has `messages`."""
    chosen = [word for index in range(partitions) for word in ("-p", index)]
    return start(["-C", "-b", address, "-t", topic, *chosen, "-o", "beginning", "-c", messages])


def finish(process, what, pattern):
    """Waits for the program's end; the last line that matches, as numbers."""
    try:
        text, _ = process.communicate(timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError(f"{what} took more than {SECONDS_MAX} s") from None
    found = pattern.findall(text)
    if process.returncode != 0 or not found:
        raise RuntimeError(f"{what} ended with {process.returncode}: {text[-600:]}")
    return [int(number) for number in found[-1]]


def finish_producer(process):
    """Its milliseconds from the first record to the last acknowledgement."""
    sent, delivered, failed, ms = finish(process, "the producer", PRODUCED)
    if failed or delivered < sent:
        raise RuntimeError(f"the producer delivered {delivered} of {sent} records")
    return ms


def finish_consumer(process):
    """Its milliseconds from the first record to the last."""
    return finish(process, "the consumer", CONSUMED)[1]


def paced(address, topic, partitions, size, per_second, seconds, acks, linger_ms):
    """What `paced` prints: latencies, and whether every record came."""
    words = [address, topic, partitions, size, per_second, seconds, acks, linger_ms]
    done = subprocess.run([paced_program(), *map(str, words)], capture_output=True, text=True,
                          timeout=seconds + SECONDS_MAX, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"paced ended with {done.returncode}: {(done.stderr + done.stdout)[-600:]}")
    return json.loads(done.stdout)
