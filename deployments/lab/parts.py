"""What a lab consists of: each part's command line, what it needs first, and how one sees that it is ready."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template

import cluster
import seeds
import stores as stores_of
from home import ACCOUNTS, LAB, REPOSITORY, Home, Settings, read_env, write
from supervisor import Part, Process, Step

MONITORING = REPOSITORY / "deployments" / "monitoring"
ENVIRONMENTS = REPOSITORY / "deployments" / "environments"
NAMESPACE = "production"


@dataclass(frozen=True)
class Lab:
    """A home, its settings and the folder of the Gateway API's CRDs."""

    home: Home
    settings: Settings
    crds: Path

    def program(self, name: str) -> str:
        """The path of one of the lab's own programs."""
        return str(self.home.bin / name)

    def has(self, name: str) -> bool:
        """Whether that program was built."""
        return (self.home.bin / name).exists()

    def address(self, listener: str) -> str:
        """HOST:PORT of a listener."""
        return f"127.0.0.1:{self.settings.ports[listener]}"

    def url(self, listener: str) -> str:
        """The HTTP address of a listener."""
        return f"http://{self.address(listener)}"

    @property
    def redis_url(self) -> str:
        """Where Redis is, with its password."""
        return f"redis://:{self.settings.secrets['redis-password']}@{self.address('redis')}"

    @property
    def apiserver(self) -> str:
        """The apiserver's address."""
        return f"https://{self.address('apiserver')}"

    @property
    def certificate(self) -> Path:
        """The certificate that the apiserver makes for itself."""
        return self.home.data / "apiserver" / "apiserver.crt"


def all_parts(lab: Lab, without: Collection[str] = ()) -> list[Part]:
    """Every part that can be started now, but those to leave out and what needs them.

    A part whose program does not exist in the product yet is left out, too.
    """
    left_out, kept = set(without), []
    for part in [*control_plane(lab), *stores(lab), *traffic(lab), *monitoring(lab), *prefect(lab)]:
        if part.name in left_out or left_out.intersection(part.needs):
            left_out.add(part.name)
        else:
            kept.append(part)
    return kept


def control_plane(lab: Lab) -> Iterator[Part]:
    """etcd, apiserver, controller-manager, and the objects that everything else expects."""
    yield Process(
        "etcd",
        [
            lab.program("etcd"),
            f"--data-dir={lab.home.data / 'etcd'}",
            f"--listen-client-urls={lab.url('etcd')}",
            f"--advertise-client-urls={lab.url('etcd')}",
            f"--listen-peer-urls={lab.url('etcd-peer')}",
            f"--initial-advertise-peer-urls={lab.url('etcd-peer')}",
            f"--initial-cluster=default={lab.url('etcd-peer')}",
            "--unsafe-no-fsync",
        ],
        ready=f"{lab.url('etcd')}/health",
    )
    yield apiserver(lab)
    yield Process(
        "controller-manager",
        [
            lab.program("kube-controller-manager"),
            f"--kubeconfig={lab.home.kubeconfig}",
            f"--secure-port={lab.settings.ports['controller-manager']}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={lab.home.data / 'controller-manager'}",
            f"--service-account-private-key-file={lab.home.keys / 'service-accounts.pem'}",
            f"--root-ca-file={lab.certificate}",
            "--use-service-account-credentials=false",
            "--leader-elect=false",
            # EndpointSlices refuse loopback addresses; the gateway and Prometheus read the pods themselves.
            "--controllers=*,-nodeipam,-endpoint,-endpointslice,-endpointslicemirroring",
        ],
        needs=["apiserver"],
        ready=f"https://{lab.address('controller-manager')}/healthz",
    )
    yield Step("manifests", partial(cluster.create_platform, lab.home, lab.settings, lab.crds), needs=["apiserver"])


def apiserver(lab: Lab) -> Process:
    """The apiserver; its token file and keys are in the home, never in its arguments."""
    keys = lab.home.keys
    return Process(
        "apiserver",
        [
            lab.program("kube-apiserver"),
            f"--etcd-servers={lab.url('etcd')}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={lab.settings.ports['apiserver']}",
            f"--cert-dir={lab.certificate.parent}",
            f"--service-account-key-file={keys / 'service-accounts.pem'}",
            f"--service-account-signing-key-file={keys / 'service-accounts.pem'}",
            "--service-account-issuer=https://lab",
            f"--token-auth-file={keys / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=false",
        ],
        needs=["etcd"],
        ready=f"{lab.apiserver}/readyz",
    )


def stores(lab: Lab) -> Iterator[Part]:
    """FerretDB, the two object stores, SSM with the platform's secrets, and Redis."""
    yield Process(
        "mongodb",
        [lab.program("ferretdb"), f"-listen={lab.address('mongodb')}", f"-data={lab.home.data / 'mongodb'}"],
        env={"DO_NOT_TRACK": "1", "FERRETDB_TELEMETRY": "disable", "GOGC": "1600"},
        ready=f"tcp://{lab.address('mongodb')}",
    )
    yield Step("oplog", partial(seeds.keep_oplog, f"mongodb://{lab.address('mongodb')}/"), needs=["mongodb"])
    yield from object_stores(lab)
    keys = (lab.settings.secrets["s3-a-access"], lab.settings.secrets["s3-a-secret"])
    yield Step("media", partial(seeds.fill_media, lab.url("s3-a"), *keys), needs=["s3-a"])
    yield Process(
        "ssm",
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(lab.settings.ports["ssm"])],
        ready=f"tcp://{lab.address('ssm')}",
    )
    secrets = {"jwt": lab.settings.secrets["jwt-secret"], "database/uri": f"mongodb://{lab.address('mongodb')}/"}
    yield Step("ssm parameters", partial(seeds.fill_ssm, lab.url("ssm"), secrets), needs=["ssm"])
    yield from redis(lab)


def redis(lab: Lab) -> Iterator[Part]:
    """Redis as it is by default, but for an answer to replicas without delay; its password is in a file."""
    config, folder = lab.home.keys / "redis.conf", lab.home.data / "redis"
    settings = {
        "bind": "127.0.0.1",
        "port": lab.settings.ports["redis"],
        "dir": folder,
        "requirepass": lab.settings.secrets["redis-password"],
        "save": "60 1",
        "repl-diskless-sync": "yes",
        "repl-diskless-sync-delay": 0,
    }
    write(config, "".join(f"{name} {value}\n" for name, value in settings.items()))
    yield Process("redis", [lab.program("redis-server"), str(config)], ready=f"tcp://{lab.address('redis')}")
    yield Step("redis keys", partial(seeds.fill_redis, lab.redis_url), needs=["redis"])


def object_stores(lab: Lab) -> Iterator[Part]:
    """s3-a (versitygw) and s3-b (MinIO, with versions and object lock); each knows a writer and a pruner."""
    folder, secrets = lab.home.data / "s3-a", lab.settings.secrets
    versions = ["--versioning-dir", f"{folder}-versions"]
    accounts = ["--iam-dir", str(lab.home.keys / "s3-a")]
    yield Process(
        "s3-a",
        [
            lab.program("versitygw"),
            "--quiet",
            "--port",
            lab.address("s3-a"),
            *accounts,
            "posix",
            *versions,
            str(folder),
        ],
        env={"ROOT_ACCESS_KEY": secrets["s3-a-access"], "ROOT_SECRET_KEY": secrets["s3-a-secret"]},
        ready=f"tcp://{lab.address('s3-a')}",
    )
    yield Step("s3-a accounts", partial(stores_of.admit_to_versitygw, lab.url("s3-a"), secrets), needs=["s3-a"])
    yield Process(
        "s3-b",
        [
            lab.program("minio"),
            "server",
            "--quiet",
            f"--address={lab.address('s3-b')}",
            f"--certs-dir={lab.home.data / 'minio-certificates'}",
            str(lab.home.data / "minio"),
        ],
        env={
            "MINIO_ROOT_USER": secrets["s3-b-access"],
            "MINIO_ROOT_PASSWORD": secrets["s3-b-secret"],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        },
        ready=f"{lab.url('s3-b')}/minio/health/ready",
    )
    yield Step("s3-b accounts", partial(stores_of.admit_to_minio, lab.address("s3-b"), secrets), needs=["s3-b"])


def traffic(lab: Lab) -> Iterator[Part]:
    """The node that runs the pods, the gateway in front of them, and the load generator."""
    home, kubeconfig = lab.home, str(lab.home.kubeconfig)
    if (LAB / "node" / "__main__.py").exists():
        command = [sys.executable, str(LAB / "node"), "--kubeconfig", kubeconfig, "--home", str(home.path)]
        yield Process("node", [*command, "--bin", str(home.bin), "--python", sys.executable], needs=["manifests"])
    if lab.has("gateway"):
        listen = ["-listen", lab.address("gateway"), "-admin", lab.address("gateway-admin")]
        yield Process(
            "gateway",
            [lab.program("gateway"), "-kubeconfig", kubeconfig, "-namespace", NAMESPACE, *listen],
            needs=["manifests"],
            ready=f"{lab.url('gateway-admin')}/healthz",
        )
    if lab.has("load"):
        command = [lab.program("load"), "-gateway", lab.url("gateway"), "-listen", lab.address("load")]
        yield Process("load", command, ready=f"{lab.url('load')}/healthz")
    if (LAB / "node" / "__main__.py").exists() and lab.has("sample"):
        yield Step(
            "sample services",
            partial(cluster.await_deployments, lab.home, lab.settings),
            needs=["node", "controller-manager", "manifests"],
        )
    if lab.has("gateway") and lab.has("sample"):
        wait = partial(cluster.await_gateway, lab.home, lab.settings, lab.url("gateway-admin"))
        yield Step("gateway endpoints", wait, needs=["gateway", "sample services"])


def monitoring(lab: Lab) -> Iterator[Part]:
    """Prometheus, and what tells it which pods there are."""
    config = lab.home.data / "prometheus.yaml"
    template = Template((MONITORING / "prometheus.lab.yaml").read_text())
    write(config, template.substitute(discovery=lab.url("discovery"), gateway_admin=lab.address("gateway-admin")))
    yield Process(
        "discovery",
        [sys.executable, str(LAB), "discover", "--home", str(lab.home.path)],
        needs=["manifests"],
        ready=lab.url("discovery"),
    )
    yield Process(
        "prometheus",
        [
            lab.program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={lab.home.data / 'prometheus'}",
            f"--web.listen-address={lab.address('prometheus')}",
            "--storage.tsdb.retention.time=2d",
            "--log.level=warn",
        ],
        needs=["discovery"],
        ready=f"{lab.url('prometheus')}/-/ready",
    )


def prefect(lab: Lab) -> Iterator[Part]:
    """Prefect's server and, where the product can make its deployments, a worker for them."""
    env = {
        "PREFECT_HOME": str(lab.home.data / "prefect"),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = [sys.executable, "-m", "prefect"]
    port = str(lab.settings.ports["prefect"])
    api = f"{lab.url('prefect')}/api"
    yield Process(
        "prefect",
        [*command, "server", "start", "--host", "127.0.0.1", "--port", port],
        env=env | {"PREFECT_API_URL": api},
        ready=f"{api}/health",
    )
    if not (REPOSITORY / "deployments" / "bootstrap.py").exists():
        return
    client = env | read_env(lab.home.endpoints)
    client |= {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1"}
    client |= {"PREFECT_WORKER_WEBSERVER_PORT": str(lab.settings.ports["worker"])}
    client |= {"PREFECT_API_URL": api, "ONLYVIPS_ENVIRONMENTS_DIR": str(ENVIRONMENTS), "PYTHONPATH": str(REPOSITORY)}
    yield Step("deployments", partial(bootstrap, lab.home, client), ["prefect"], vital=False, log="deployments")
    yield Process(
        "worker",
        [*command, "worker", "start", "--pool", "onlyvips", "--type", "process", "--with-healthcheck"],
        needs=["deployments", "manifests"],
        env=client,
        ready=f"{lab.url('worker')}/health",
        vital=False,
    )


def bootstrap(home: Home, env: dict[str, str]) -> None:
    """Let the product make its Prefect objects."""
    command = [sys.executable, str(REPOSITORY / "deployments" / "bootstrap.py"), "--environment", "lab"]
    path = {"PATH": f"{home.bin}:/usr/bin:/bin", "HOME": str(Path.home())}
    with home.log("deployments").open("ab") as output:
        subprocess.run(command, env=path | env, stdout=output, stderr=output, cwd=REPOSITORY, check=True, timeout=120)


def write_endpoints(lab: Lab) -> None:
    """Write what a client of the lab needs, secrets included, for its owner's eyes only."""
    home, secrets = lab.home, lab.settings.secrets
    recipients = seeds.age_recipients(home)
    signing, public = seeds.drill_keys(home)
    values = {
        "HOME": home.path,
        "KUBECONFIG": home.kubeconfig,
        "GATEWAY_URL": lab.url("gateway"),
        "GATEWAY_ADMIN_URL": lab.url("gateway-admin"),
        "LOAD_URL": lab.url("load"),
        "MONGODB_URI": f"mongodb://{lab.address('mongodb')}/",
        "PROMETHEUS_URL": lab.url("prometheus"),
        **store_endpoints(lab),
        "SSM_URL": lab.url("ssm"),
        "SSM_ACCESS_KEY": seeds.AWS_KEY,
        "SSM_SECRET_KEY": seeds.AWS_KEY,
        "REDIS_URL": lab.redis_url,
        "REDIS_SERVER": lab.program("redis-server"),
        "HELM": lab.program("helm"),
        "DIRECTORY": home.data / "directory",
        "REPOSITORY": home.data / "repository",
        "PREFECT_API_URL": f"{lab.url('prefect')}/api",
        "PREFECT_UI_URL": lab.url("prefect"),
        "AGE_RECIPIENT_1": recipients[0],
        "AGE_RECIPIENT_2": recipients[1],
        "AGE_IDENTITY": home.keys / "age-1.txt",
        "AGE_SECRET_KEY": (home.keys / "age-1.txt").read_text().strip(),
        "DRILL_SIGNING_KEY": signing,
        "DRILL_PUBLIC_KEY": public,
        "METRICS_FILE": home.data / "onlyvips-backup.prom",
        "JWT_SECRET": secrets["jwt-secret"],
        "BIN": home.bin,
    }
    write(home.endpoints, "".join(f"ONLYVIPS_LAB_{name}={value}\n" for name, value in values.items()))


def store_endpoints(lab: Lab) -> dict[str, str]:
    """Addresses and accounts of the S3 servers: their root's, the writer's and the pruner's."""
    found = {}
    for letter in "ab":
        name = f"S3_{letter.upper()}"
        found[f"{name}_URL"] = lab.url(f"s3-{letter}")
        for account in ACCOUNTS:
            for part in ("access", "secret"):
                variable = f"{name}{account.upper().replace('-', '_')}_{part.upper()}_KEY"
                found[variable] = lab.settings.secrets[f"s3-{letter}{account}-{part}"]
    return found
