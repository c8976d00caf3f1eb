"""`portside deploy`: upload, inspect, deploy, try. What is there already is not done again."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.operations import operation_of, wait_for
from cli.output import Output
from cli.prediction import predict_path, shown_command
from cli.registry import Features, made_version, name_features
from cli.upload import Artifact
from cli.words import FIELD_COLUMNS, answer_in_words, field_rows, seconds_in_words
from portside.deploying import UP, service_name


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be deployed as what; `origins` says where each part that was not given comes from."""

    artifact: Artifact
    service: str
    model: str
    replicas: int | None
    waits: bool
    timeout_s: float
    origins: tuple[str, ...]
    features: Features = field(default_factory=dict)

    @classmethod
    def make(
        cls, given: str, name: str | None, model: str | None, replicas: int | None, wait: bool, timeout_s: float
    ) -> "Plan":
        """The plan with its defaults filled in. Raises `CommandFailed`."""
        artifact, origins = Artifact.read(given), []
        if name is None:
            origins.append("name from the file's name")
        if model is None:
            origins.append("model named as the service")
        service = name or name_from(artifact.file)
        return cls(artifact, service, model or service, replicas, wait, timeout_s, tuple(origins))

    @property
    def path(self) -> str:
        """The service's resource."""
        return f"/api/v1/services/{quote(self.service, safe='')}"


def name_from(file: Path) -> str:
    """A service's name made of a file's name. Raises `CommandFailed` where none can be made."""
    name = service_name(file.name)
    if not name:
        raise CommandFailed(f"No name can be made of {file.name}: say one with --name.", exit_status=Exit.USAGE)
    return name


def carry_out(plan: Plan, platform: Platform, output: Output) -> None:
    """Do what of the plan is not done yet. Raises `CommandFailed`."""
    began = time.monotonic()
    origins = f"  ({', '.join(plan.origins)})" if plan.origins else ""
    output.say(f"Deploy {plan.artifact.file.name} as service {plan.service}, model {plan.model}{origins}")
    service = platform.find(plan.path)
    version = made_version(platform, plan.artifact, plan.model, output, wait_s=plan.timeout_s)
    version = _unless_the_same(plan, platform, service, version, output)
    output.progress_table(FIELD_COLUMNS, field_rows(version))
    named = name_features(platform, version, plan.features, output)
    is_as_before, version = named is version, named
    if is_as_before and service is not None and _serves(service, version, plan):
        output.say(f"No change: {plan.service} serves version {version['version']} of {plan.model} already.")
    else:
        operation = _submit(plan, platform, service, version, output)
        if not plan.waits:
            output.data(str(operation["id"]))
            return
        wait_for(platform, operation, plan.timeout_s, output, _ReplicaWatch(plan, platform, output).look)
        _try(plan, platform, version, output)
    _conclude(plan, platform, version, output, time.monotonic() - began)


def _unless_the_same(
    plan: Plan, platform: Platform, service: Document | None, version: Document, output: Output
) -> Document:
    """The version that the service has, where what was fetched has its bytes: only then are those of a URL known."""
    if plan.artifact.url is None or service is None or service["model"] != plan.model:
        return version
    live = platform.find(f"/api/v1/models/{quote(plan.model, safe='')}/versions/{service['version']}")
    if live is None or live["digest"] != version["digest"] or live["version"] == version["version"]:
        return version
    output.say(f"Version {version['version']} has the same bytes as version {live['version']}, which is kept.")
    return live


def _serves(service: Document, version: Document, plan: Plan) -> bool:
    is_same = (service["model"], service["version"]) == (plan.model, version["version"])
    return is_same and service["status"] in UP and plan.replicas in (None, service["replicas"])


def _submit(plan: Plan, platform: Platform, service: Document | None, version: Document, output: Output) -> Document:
    wish = {"model": plan.model, "version": version["version"]}
    if plan.replicas is not None:
        wish["replicas"] = plan.replicas
    if service is None:
        answer = platform.call("POST", "/api/v1/services", {"name": plan.service, **wish})
        output.say(f"Deploying with {plan.replicas or 1} replica(s)")
        return operation_of(platform, answer)
    if _serves(service, version, plan):
        output.say(f"Restarting {plan.service} with the new names")
        return operation_of(platform, platform.call("POST", f"{plan.path}:restart"))
    answer = platform.call("PATCH", plan.path, wish)
    output.say(f"Rolling from version {service['version']} of {service['model']} to version {version['version']}")
    if service.get("version_ref"):
        output.say(f"{plan.service} no longer follows {service['version_ref']}")
    if service["status"] == "paused":
        output.say(f"{plan.service} was paused: resuming it")
        answer = platform.call("POST", f"{plan.path}:resume")
    return operation_of(platform, answer)


class _ReplicaWatch:
    """Says a line whenever a replica changes; replicas that had ended before are nobody's news."""

    def __init__(self, plan: Plan, platform: Platform, output: Output) -> None:
        self._path, self._platform, self._output = f"{plan.path}/replicas", platform, output
        self._seen: dict[str, str] = {}
        self._began = time.monotonic()
        self._old = {replica["id"] for replica in self._replicas() if replica["ended_at"]}

    def look(self) -> None:
        """Compare with the last look."""
        for replica in self._replicas():
            key, status = str(replica["id"]), str(replica["status"])
            if key in self._old or self._seen.get(key) == status:
                continue
            self._seen[key] = status
            why = f": {replica['message']}" if status == "failed" and replica.get("message") else ""
            self._output.say(f"  {key}  {status}  {seconds_in_words(time.monotonic() - self._began)}{why}")

    def _replicas(self) -> list[Document]:
        return list(self._platform.get(self._path)["items"])


def _try(plan: Plan, platform: Platform, version: Document, output: Output) -> None:
    """One prediction with the model's own sample, twice: the first one also opens the connection."""
    if not version.get("sample"):
        return
    body = {"inputs": version["sample"]}
    answer = platform.call("POST", predict_path(plan.service), body)
    began = time.perf_counter()
    platform.call("POST", predict_path(plan.service), body)
    took = seconds_in_words(time.perf_counter() - began)
    output.say(f"Smoke prediction with the model's sample: {answer_in_words(answer.document['outputs'])} in {took}")


def _conclude(plan: Plan, platform: Platform, version: Document, output: Output, took_s: float) -> None:
    service = platform.get(plan.path)
    if output.is_for_scripts:
        output.document(service)
        return
    output.say(f"{plan.service} is {service['status']} ({seconds_in_words(took_s)}). It answers at:")
    output.data(str(service["url"]))
    if version.get("sample"):
        output.say(shown_command(platform, plan.service, {"inputs": version["sample"]}))
