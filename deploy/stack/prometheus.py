"""Prometheus with deploy/prometheus/, for where it is installed; without it the stack has none."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from deploy.stack.child import Child, free_port
from deploy.stack.process import ROOT, answers

FOLDER = ROOT / "deploy" / "prometheus"
READY_S = 60.0
STOP_S = 10.0


class PrometheusServer:
    """One server on 127.0.0.1."""

    def __init__(self, child: Child, port: int) -> None:
        self._child, self.port = child, port

    @classmethod
    def start(cls, folder: Path, targets: Mapping[str, Sequence[str]], port: int | None = None) -> Self | None:
        """A server that asks these `host:port`s, by job; none where Prometheus is not on PATH. Raises `StackFailed`."""
        program = shutil.which("prometheus")
        if program is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        file, port = folder / "prometheus.yml", port or free_port()
        file.write_text(yaml.safe_dump(configuration(targets)), "utf-8")
        arguments = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
        command = [program, *arguments, f"--web.listen-address=127.0.0.1:{port}"]
        child = Child.start(command, folder / "prometheus.log")
        child.await_ready(lambda: answers(f"http://127.0.0.1:{port}/-/ready"), READY_S, "Prometheus")
        return cls(child, port)

    @property
    def url(self) -> str:
        """Its pages."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End it in order."""
        self._child.stop(STOP_S)


def configuration(targets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The compose file's own configuration, with addresses instead of the containers' names."""
    document: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    document["rule_files"] = [str(FOLDER / name) for name in document["rule_files"] if (FOLDER / name).exists()]
    for job in document["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": list(targets[job["job_name"]])}]
    return document
