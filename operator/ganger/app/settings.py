"""Settings of the operator, from its environment; the chart writes them. All mistakes are reported at once."""

import re
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from msgspec import Struct

from ganger.api.workload import DNS_LABEL, IMAGE
from ganger.contract import CONTROL_PORT
from ganger.plan.boost import BOOST_MAX
from ganger.plan.shard import SHARDS_MAX

SESSION_IMAGE = "pytorch-cuda-dev:v2.15"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(ValueError):
    """Settings that cannot be used; one line for each mistake."""


class Settings(Struct, frozen=True, kw_only=True):
    """What an operator process needs to know.

    namespace: where its lease and its pod live. identity: unique among the replicas. watch_namespaces: () for all.
    watch_silence_seconds: a watch that brings no line for so long is taken for dead; the server writes one each minute.
    http_port: of /metrics, /healthz and /readyz, on every interface. sync_workers: passes that run side by side.
    control_url: where workers report, https://host[:port]; "" for no control channel. control_port: where this process
    listens for them. control_service: Service without endpoints that is to lead to the leader, at pod_ip.
    control_secret: holds the certificate; "" for one that lives and dies with the process.
    metrics_auth: /metrics is served at the control port alone, to those who may get it. read_nodes: the node of a
    failure is asked how it is. pod_groups: gangs are made known to the scheduler where the cluster can have them so.
    priority_boost: the most that is added to the priority of a gang in Kueue for work that it would lose, 0 for never.
    isolate_jobs: each job gets a NetworkPolicy that lets nobody else reach its workers, each session one that lets
    nobody in. shards: parts into which the jobs are divided, each led by one process. session_image: of sessions
    that name none, nor does their job.
    """

    namespace: str
    identity: str
    default_image: str
    watch_namespaces: tuple[str, ...] = ()
    http_port: int = 8080
    sync_workers: int = 8
    watch_silence_seconds: int = 75
    log_level: str = "INFO"
    control_url: str = ""
    control_port: int = CONTROL_PORT
    control_service: str = ""
    control_secret: str = ""
    pod_ip: str = ""
    metrics_auth: bool = False
    read_nodes: bool = True
    pod_groups: bool = True
    priority_boost: int = 0
    isolate_jobs: bool = False
    session_image: str = SESSION_IMAGE
    shards: int = 1

    @property
    def control_address(self) -> str:
        """host:port at which other operators reach this one, "" for one that hears no workers."""
        host = f"[{self.pod_ip}]" if ":" in self.pod_ip else self.pod_ip
        return f"{host}:{self.control_port}" if self.control_url and host else ""

    @property
    def serves_tls(self) -> bool:
        """Whether anything is served at the control port."""
        return bool(self.control_url) or self.metrics_auth


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int, mistakes: list[str]) -> int:
    text = env.get(name, str(default))
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        mistakes.append(f"{name}={text!r}: must be a whole number from {low} to {high}")
        return default
    return int(text)


def _truth(env: Mapping[str, str], name: str, default: bool, mistakes: list[str]) -> bool:
    text = env.get(name, "true" if default else "false").lower()
    if text not in ("true", "false"):
        mistakes.append(f"{name}={text!r}: must be true or false")
    return text == "true"


def _image(env: Mapping[str, str], name: str, default: str, mistakes: list[str]) -> str:
    image = env.get(name, default)
    if not re.fullmatch(IMAGE, image):
        mistakes.append(f"{name}={image!r}: must be an image reference such as {default}")
    return image


def read(env: Mapping[str, str]) -> Settings:
    """Return the settings of an environment. Raises SettingsError that lists every mistake."""
    mistakes: list[str] = []
    namespace = env.get("GANGER_NAMESPACE", "default")
    if not re.fullmatch(DNS_LABEL, namespace):
        mistakes.append(f"GANGER_NAMESPACE={namespace!r}: must be the name of a namespace")
    image = _image(env, "GANGER_DEFAULT_IMAGE", "pytorch-cuda:v2.15", mistakes)
    session_image = _image(env, "GANGER_SESSION_IMAGE", SESSION_IMAGE, mistakes)
    watched = tuple(part.strip() for part in env.get("GANGER_WATCH_NAMESPACES", "").split(",") if part.strip())
    mistakes += [
        f"GANGER_WATCH_NAMESPACES: {name!r} is not the name of a namespace"
        for name in watched
        if not re.fullmatch(DNS_LABEL, name)
    ]
    level = env.get("GANGER_LOG_LEVEL", "INFO").upper()
    if level not in LOG_LEVELS:
        mistakes.append(f"GANGER_LOG_LEVEL={level!r}: must be one of {', '.join(LOG_LEVELS)}")
    port = _number(env, "GANGER_HTTP_PORT", 8080, 1, 65535, mistakes)
    workers = _number(env, "GANGER_SYNC_WORKERS", 8, 1, 256, mistakes)
    silence = _number(env, "GANGER_WATCH_SILENCE_SECONDS", 75, 5, 3600, mistakes)
    nodes = _truth(env, "GANGER_READ_NODES", True, mistakes)
    groups = _truth(env, "GANGER_POD_GROUPS", True, mistakes)
    boost = _number(env, "GANGER_PRIORITY_BOOST", 0, 0, BOOST_MAX, mistakes)
    isolates = _truth(env, "GANGER_ISOLATE_JOBS", False, mistakes)
    shards = _number(env, "GANGER_SHARDS", 1, 1, SHARDS_MAX, mistakes)
    control = _control(env, mistakes)
    if shards > 1 and control["control_url"] and not _is_address(control["pod_ip"]):
        mistakes.append(
            f"GANGER_POD_IP={control['pod_ip']!r}: must be this pod's address while GANGER_SHARDS is above 1"
        )
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return Settings(
        namespace=namespace,
        identity=env.get("GANGER_POD") or socket.gethostname(),
        default_image=image,
        watch_namespaces=tuple(dict.fromkeys(watched)),
        http_port=port,
        sync_workers=workers,
        watch_silence_seconds=silence,
        log_level=level,
        read_nodes=nodes,
        pod_groups=groups,
        priority_boost=boost,
        isolate_jobs=isolates,
        session_image=session_image,
        shards=shards,
        **control,
    )


def _control(env: Mapping[str, str], mistakes: list[str]) -> dict[str, Any]:
    url = env.get("GANGER_CONTROL_URL", "").rstrip("/")
    if url and not re.fullmatch(r"https://[^/?#@\s]+", url):
        mistakes.append(f"GANGER_CONTROL_URL={url!r}: must be https://host or https://host:port, without a path")
    mistakes += [
        f"{name}={env[name]!r}: must be the name of an object"
        for name in ("GANGER_CONTROL_SERVICE", "GANGER_CONTROL_SECRET")
        if env.get(name) and not re.fullmatch(DNS_LABEL, env[name])
    ]
    address = env.get("GANGER_POD_IP", "")
    if env.get("GANGER_CONTROL_SERVICE") and not _is_address(address):
        mistakes.append(f"GANGER_POD_IP={address!r}: must be this pod's address while GANGER_CONTROL_SERVICE is set")
    return {
        "control_url": url,
        "control_port": _number(env, "GANGER_CONTROL_PORT", CONTROL_PORT, 1, 65535, mistakes),
        "control_service": env.get("GANGER_CONTROL_SERVICE", ""),
        "control_secret": env.get("GANGER_CONTROL_SECRET", ""),
        "pod_ip": address,
        "metrics_auth": _truth(env, "GANGER_METRICS_AUTH", False, mistakes),
    }


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
