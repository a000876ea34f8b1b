"""The lab's programs: built or fetched once from pinned sources, into a cache outside the tree."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from home import LAB, Home, last_lines
from rich.console import Console

SERVERS = LAB / "servers"
OWN = LAB / "go"
KUBERNETES = "v1.34.4"
STRIP = "-s -w"
SQLITE_ONLY = "-tags=ferretdb_no_postgresql"
VERSION = "-X k8s.io/component-base/version."
GO_NEEDED = (1, 25)
POD_PORT = 8080


_running: set[subprocess.Popen[str]] = set()
"""Builds at work; who gives up ends them."""


class Missing(Exception):
    """A prerequisite is not on this machine; the message says what to install."""


@dataclass(frozen=True)
class Ingredient:
    """Something the cache holds: `make` fills a directory, `key` changes when it must be made again."""

    name: str
    key: str
    make: Callable[[Path, Path], None]


@dataclass(frozen=True)
class Module:
    """A pinned Go module and the programs to build from it."""

    name: str
    source: Path
    programs: tuple[tuple[str, str], ...]
    flags: tuple[str, ...] = (f"-ldflags={STRIP}",)

    def ingredient(self) -> Ingredient:
        """This module as something the cache holds."""
        files = sorted(path for path in self.source.rglob("*") if path.suffix in {".go", ".mod", ".sum"})
        digest = hashlib.sha256(repr((self.programs, self.flags)).encode())
        for path in files:
            digest.update(str(path.relative_to(self.source)).encode() + b"\0" + path.read_bytes())
        return Ingredient(self.name, digest.hexdigest()[:16], self.build)

    def build(self, target: Path, log: Path) -> None:
        """Build each program into `target`/bin."""
        for program, package in self.programs:
            go(self.source, log, "build", *self.flags, "-o", str(target / "bin" / program), package)


def modules() -> list[Module]:
    """Every Go module of the lab, the longest build first."""
    version = f"{VERSION}gitVersion={KUBERNETES} {VERSION}gitMajor=1 {VERSION}gitMinor=34"
    kubernetes = (
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    )
    kubectl = (("kubectl", "k8s.io/kubernetes/cmd/kubectl"),)
    mongo = tuple((tool, f"github.com/mongodb/mongo-tools/{tool}/main") for tool in ("mongodump", "mongorestore"))
    age = tuple((tool, f"filippo.io/age/cmd/{tool}") for tool in ("age", "age-keygen"))
    own = tuple((path.name, f"./cmd/{path.name}") for path in sorted(OWN.glob("cmd/*")) if any(path.glob("*.go")))
    found = [
        Module("kubernetes", SERVERS / "kubernetes", kubernetes, (f"-ldflags={STRIP} {version}",)),
        Module("minio", SERVERS / "minio", (("minio", "github.com/minio/minio"),)),
        Module("kubectl", SERVERS / "kubectl", kubectl, (f"-ldflags={STRIP} {version}",)),
        Module("helm", SERVERS / "helm", (("helm", "helm.sh/helm/v3/cmd/helm"),)),
        Module("ferretdb", SERVERS / "ferretdb", (("ferretdb", "."),), (f"-ldflags={STRIP}", SQLITE_ONLY)),
        Module("versitygw", SERVERS / "versitygw", (("versitygw", "github.com/versity/versitygw/cmd/versitygw"),)),
        Module("mongo-tools", SERVERS / "mongo-tools", mongo),
        Module("age", SERVERS / "age", age),
        Module("own", OWN, own),
    ]
    return [module for module in found if module.programs]


def ingredients() -> list[Ingredient]:
    """Everything the cache must hold before a lab can start."""
    crds = Module("gateway-api", SERVERS / "gateway-api", ()).ingredient()
    return [
        *(module.ingredient() for module in modules()),
        Ingredient("gateway-api", crds.key, copy_gateway_crds),
        Ingredient("prefect", metadata.version("prefect"), migrate_prefect),
        *(Ingredient(name, "1", partial(link_or_fetch, name)) for name in DEBIAN),
    ]


DEBIAN = {
    "prometheus": ("prometheus",),
    "zstd": ("zstd",),
    "redis": ("redis-server", "redis-check-rdb"),
}
"""Programs of PATH, or of Debian packages."""
PACKAGES = {"redis": ("redis-server", "redis-tools")}
"""Where they are in packages of other names."""


def copy_gateway_crds(target: Path, log: Path) -> None:
    """Take the Gateway API's standard CRDs out of its pinned module."""
    answer = go(SERVERS / "gateway-api", log, "mod", "download", "-json", "sigs.k8s.io/gateway-api")
    folder = Path(json.loads(answer)["Dir"]) / "config" / "crd" / "standard"
    (target / "crd").mkdir()
    for kind in ("gatewayclasses", "gateways", "httproutes", "referencegrants"):
        shutil.copyfile(next(folder.glob(f"*_{kind}.yaml")), target / "crd" / f"{kind}.yaml")


def migrate_prefect(target: Path, log: Path) -> None:
    """Make the empty database of Prefect's server, whose migrations take longer than all of `up`."""
    env = {"PREFECT_HOME": str(target), "DO_NOT_TRACK": "1", "PREFECT_API_URL": ""}
    run([sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"], target, log, **env)


def link_or_fetch(name: str, target: Path, log: Path) -> None:
    """Link programs of PATH, or unpack their Debian packages without being root."""
    (target / "bin").mkdir(parents=True)
    found = {program: shutil.which(program) for program in DEBIAN[name]}
    if not all(found.values()):
        fetch_packages(PACKAGES.get(name, (name,)), target, log)
    for program, path in found.items():
        if all(found.values()):
            (target / "bin" / program).symlink_to(str(path))
        else:
            write_starter(target, program)


def fetch_packages(packages: tuple[str, ...], target: Path, log: Path) -> None:
    """Download Debian packages, and the libraries of theirs that are not here, and unpack all into `target`/package."""
    name = packages[0]
    sentence = f"{name} is needed: install it so that it is on PATH (Debian, Ubuntu: apt-get install {name})"
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Missing(f"{sentence}.")
    try:
        needed = run(["apt-cache", "depends", "--important", *packages], target, log)
        libraries = set(re.findall(r"^  Depends: (lib\S+|lua\S+)$", needed, re.MULTILINE))
        here = run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n"], target, log)
        absent = libraries - {line[3:] for line in here.splitlines() if line.startswith("ii")}
        run(["apt-get", "download", *packages, *sorted(absent)], target, log)
    except subprocess.CalledProcessError:
        raise Missing(f"{sentence}, or run apt-get update so that its package can be fetched.") from None
    for package in target.glob("*.deb"):
        run(["dpkg", "-x", str(package), str(target / "package")], target, log)
        package.unlink()


def write_starter(target: Path, program: str) -> None:
    """A script in `target`/bin that starts an unpacked program with the libraries that were unpacked beside it."""
    starter = target / "bin" / program
    starter.write_text(
        "#!/bin/sh\n"
        'package=$(dirname "$(readlink -f "$0")")/../package\n'
        "export LD_LIBRARY_PATH=$(echo $package/usr/lib/*-linux-gnu | tr ' ' :)\n"
        f'exec "$package/usr/bin/{program}" "$@"\n'
    )
    starter.chmod(0o755)


def prepare(home: Home, console: Console) -> dict[str, Path]:
    """Make what the cache lacks, link all programs into the home, return the folders of all parts by name."""
    made = make_absent(console)
    for link in home.bin.iterdir():
        link.unlink()
    for program in (program for folder in made.values() for program in (folder / "bin").glob("*")):
        (home.bin / program.name).symlink_to(program)
    return made


def make_absent(console: Console) -> dict[str, Path]:
    """Make what the cache lacks; the folders of all parts by name."""
    cache, wanted = cache_folder(), ingredients()
    if absent := [item for item in wanted if not cached(cache, item).exists()]:
        check_go()
        make_all(cache, absent, console)
    return {item.name: cached(cache, item) for item in wanted}


def make_all(cache: Path, absent: list[Ingredient], console: Console) -> None:
    """Make several at a time, so that one's downloads overlap with another's compiling."""
    console.print(f"making {len(absent)} parts once ({', '.join(item.name for item in absent)}) in {cache}")
    started = time.monotonic()
    for item in (item for item in absent if item.name in DEBIAN):  # first: what is missing is told before compiling
        console.print(f"  {item.name:<12} {make(cache, item):6.1f} s")
    with ThreadPoolExecutor(2) as pool, console.status("compiling …"):
        jobs = {pool.submit(make, cache, item): item.name for item in absent if item.name not in DEBIAN}
        try:
            for job in as_completed(jobs):
                console.print(f"  {jobs[job]:<12} {job.result():6.1f} s")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_running):
                process.terminate()
            raise
    console.print(f"  {'all':<12} {time.monotonic() - started:6.1f} s")


def make(cache: Path, item: Ingredient) -> float:
    """Make one in a temporary folder and rename it, so that a killed build is never half used."""
    started = time.monotonic()
    log = cache / "logs" / f"{item.name}.log"
    with locked(cache / "locks" / item.name):
        for leftover in cache.glob(f".{item.name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not cached(cache, item).exists():
            target = Path(tempfile.mkdtemp(prefix=f".{item.name}-", dir=cache))
            target.chmod(0o755)
            log.parent.mkdir(exist_ok=True)
            try:
                item.make(target, log)
                target.rename(cached(cache, item))
            except subprocess.CalledProcessError as error:
                raise SystemExit("\n    ".join([f"{item.name} could not be made: {error}", *last_lines(log)])) from None
            finally:
                shutil.rmtree(target, ignore_errors=True)
    return time.monotonic() - started


def cached(cache: Path, item: Ingredient) -> Path:
    """Where the cache holds an ingredient."""
    return cache / f"{item.name}-{item.key}"


def cache_folder() -> Path:
    """The cache, shared by all labs of a user."""
    named = os.environ.get("ONLYVIPS_LAB_CACHE")
    return Path(named).resolve() if named else Path.home() / ".cache" / "onlyvips-lab"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock, so that two labs do not build one thing twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def check_go() -> None:
    """Refuse a machine without Go, or with one that is too old."""
    sentence = "Go 1.25 or newer is needed to build the lab: install it from https://go.dev/dl and put it on PATH"
    if not shutil.which("go"):
        raise Missing(f"{sentence}.")
    found = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    version = re.match(r"go(\d+)\.(\d+)", found)
    if version is None or (int(version[1]), int(version[2])) < GO_NEEDED:
        raise Missing(f"{sentence} (found {found or 'an unknown version'}).")


def check_git() -> None:
    """The platform's manifests are in a git repository."""
    if not shutil.which("git"):
        raise Missing("git is needed: install it so that it is on PATH (Debian, Ubuntu: apt-get install git).")


def check_pod_port(port: int = POD_PORT) -> None:
    """Pods listen at their own loopback addresses: whoever listens at every address would answer in their place."""
    with socket.socket() as door:
        try:
            door.bind(("127.1.255.254", port))
        except OSError as error:
            raise Missing(
                f"Port {port} is needed at the loopback addresses of the lab's pods, and another program listens "
                f"there at every address ({error.strerror}): stop it, then start the lab again."
            ) from error


def go(folder: Path, log: Path, *arguments: str) -> str:
    """Run the go command in a module."""
    return run(["go", *arguments], folder, log, CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="-mod=readonly")


def run(command: list[str], folder: Path, log: Path, **env: str) -> str:
    """Run a command, its messages into the log, and return its output."""
    with (
        log.open("a") as stream,
        subprocess.Popen(
            command, cwd=folder, env=os.environ | env, stdout=subprocess.PIPE, stderr=stream, text=True
        ) as process,
    ):
        _running.add(process)
        try:
            output, _ = process.communicate()
        finally:
            _running.discard(process)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return output
