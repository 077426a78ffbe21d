"""Facts that every recorded result carries: the machine, the commit, and where the binary is."""

import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def machine():
    """Cores, processor model, memory and kernel of this machine."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory_kb = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return {"cores": os.cpu_count(), "model": model, "memory_gb": round(memory_kb / 2**20, 1),
            "kernel": platform.release(), "python": platform.python_version()}


def pluvio_binary():
    """The release build: $PLUVIO_BIN, or the target folder cargo uses."""
    if "PLUVIO_BIN" in os.environ:
        return pathlib.Path(os.environ["PLUVIO_BIN"])
    target = os.environ.get("CARGO_TARGET_DIR")
    folders = [pathlib.Path(target)] if target else []
    folders += [ROOT / "target", pathlib.Path.home() / ".cache/pluvio/target"]
    for folder in folders:
        if (folder / "release/pluvio").exists():
            return folder / "release/pluvio"
    return folders[0] / "release/pluvio"


def pluvio_commit():
    """The commit of the working tree, with + when it has changes."""
    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
