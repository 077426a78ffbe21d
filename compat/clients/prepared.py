"""What the programs in other languages need, fetched and built once per version into the cache, never into the repository.

The versions are those of `kafkajs/package-lock.json`, `franz_go/go.mod` and the `pom.xml` of `spark` and `flink`.
A tool that is not there is an error with its name, not a test that is left out.
"""

import hashlib
import os
import pathlib
import shutil
import time

from kafka_oracle import cache, fetched, run_or_say

HERE = pathlib.Path(__file__).resolve().parent


def tool(name, package):
    """Where the tool is."""
    found = shutil.which(name)
    if not found:
        raise FileNotFoundError(f"`{name}` is not installed; the clients' tests need it (Debian package: {package})")
    return found


def place(name, *files):
    """A folder in the cache for this content of the program's files."""
    digest = hashlib.sha256(b"".join((HERE / name / file).read_bytes() for file in files)).hexdigest()[:12]
    return cache() / "clients" / f"{name}-{digest}"


def node_modules(name):
    """The folder with the packages that the program's package-lock.json names."""

    def install(folder):
        for file in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name / file, folder)
        run_or_say([tool("npm", "npm"), "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, timeout=300)

    return fetched(place(name, "package-lock.json"), install) / "node_modules"


def go_program(name):
    """The program, built."""
    sources = sorted(path.name for path in (HERE / name).iterdir() if path.suffix in (".go", ".mod", ".sum"))

    def build(folder):
        environment = {**os.environ, "GOPATH": str(cache() / "go"), "GOCACHE": str(cache() / "go/build"),
                       "GOFLAGS": "-mod=readonly -trimpath"}
        run_or_say([tool("go", "golang"), "build", "-o", folder / name, "."], cwd=HERE / name, env=environment, timeout=600)

    return fetched(place(name, *sources), build) / name


def java_program(name):
    """The class path of the program: the libraries its pom.xml names, and its own classes."""
    sources = sorted(path.name for path in (HERE / name).glob("*.java"))

    def copy_libraries(folder):
        shutil.copy(HERE / name / "pom.xml", folder)
        run_or_say([tool("mvn", "maven"), "-q", "-B", "-s", HERE / "maven-settings.xml", "dependency:copy-dependencies",
                    "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'libs'}"], cwd=folder, timeout=900)

    libraries = fetched(place(name, "pom.xml"), copy_libraries) / "libs"

    def compile_classes(folder):
        run_or_say([tool("javac", "default-jdk-headless"), "-nowarn", "-cp", f"{libraries}/*", "-d", folder,
                    *(HERE / name / source for source in sources)], timeout=120)

    return f"{fetched(place(name, 'pom.xml', *sources).with_suffix('.classes'), compile_classes)}:{libraries}/*"


def main():
    """Prepares all of them, and says what was slow."""
    for prepare, name in ((node_modules, "kafkajs"), (go_program, "franz_go"), (java_program, "spark"), (java_program, "flink")):
        started = time.monotonic()
        prepare(name)
        print(f"{name}: ready after {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
