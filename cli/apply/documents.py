"""YAML files with documents of resources, read and checked as a whole before anything is asked or done."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from cli.apply.fields import FIELDS, READ_AS, REQUIRED, SEALED
from cli.failure import CommandFailed, Exit

SHOWN = 80  # characters of a wrong value
ENDINGS = (".yaml", ".yml")
ONLY_OF_BATCHES = ("model", "version", "part", "input", "output", "mapping", "pass_through", "on_error", "chunk_rows")


@dataclass(frozen=True, slots=True)
class Declared:
    """One document that is right by itself. `place` is where it stands, `file` a file beside it: a model's artifact or
    a dataset's data where these are no source, or a job's script. `folder` has the files of a dataset of files."""

    kind: str
    name: str
    fields: Mapping[str, Any]
    place: str
    file: Path | None
    folder: Path | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class _Document:
    """One YAML document with the line of each of its fields."""

    path: Path
    number: int
    value: object
    line: int
    lines: Mapping[str, int]
    twice: tuple[str, ...]

    def fault(self, what: str, field: str = "") -> str:
        """A mistake with file, line, document and field."""
        where = f", field '{field}'" if field else ""
        return f"{self.path}:{self.lines.get(field, self.line)}: document {self.number}{where}: {what}"


def read_documents(given: Path) -> list[Declared]:
    """Every document of a file, or of all YAML files below a folder. Raises `CommandFailed` with all mistakes."""
    found: list[Declared] = []
    faults: list[str] = []
    for document in (each for path in _files(given) for each in _documents(path)):
        wrong = list(_faults(document))
        faults += wrong
        if not wrong and document.value is not None:
            declared = _declared(document)
            first = next((one for one in found if (one.kind, one.name) == (declared.kind, declared.name)), None)
            found.append(declared)
            if first:
                faults.append(document.fault(f"{declared} stands in {first.place} already", "name"))
    if faults:
        what = "one mistake" if len(faults) == 1 else f"{len(faults)} mistakes"
        raise CommandFailed(f"{given} has {what}; nothing was changed.", details=faults, exit_status=Exit.USAGE)
    if not found:
        raise CommandFailed(
            f"{given} has no documents: a model, a dataset, a service or a job is one.", exit_status=Exit.USAGE
        )
    return found


def _files(given: Path) -> list[Path]:
    if given.is_file():
        return [given]
    if not given.is_dir():
        raise CommandFailed(f"{given} does not exist: name a YAML file or a folder of them.", exit_status=Exit.USAGE)
    below = (path.relative_to(given) for path in sorted(given.rglob("*")) if path.suffix in ENDINGS)
    return [given / path for path in below if not any(part.startswith(".") for part in path.parts)]


def _documents(path: Path) -> Iterator[_Document]:
    """Raises `CommandFailed` where a file is no YAML."""
    try:
        loader = yaml.SafeLoader(path.read_text("utf-8"))
        number = 0
        while loader.check_node():
            number += 1
            node = loader.get_node()
            assert node is not None
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            lines = {str(key.value): key.start_mark.line + 1 for key, _ in pairs}
            value = loader.construct_document(node)
            yield _Document(path, number, value, node.start_mark.line + 1, lines, tuple(_repeated(node)))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CommandFailed(f"{path}:{line}: is no YAML: {error.problem}.", exit_status=Exit.USAGE) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandFailed(f"{path} cannot be read ({error}).", exit_status=Exit.USAGE) from error


def _repeated(node: yaml.Node) -> Iterator[str]:
    """Keys that stand twice in one mapping: YAML lets the last one win, and nobody sees it."""
    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        yield from sorted({key for key in keys if keys.count(key) > 1})
        for _, value in node.value:
            yield from _repeated(value)


def _faults(document: _Document) -> Iterator[str]:
    value = document.value
    if value is None:  # nothing between two lines of dashes
        return
    if not isinstance(value, dict):
        yield document.fault("must be fields with values, `kind: model` or another first")
        return
    kind = str(value.get("kind"))
    if kind not in FIELDS:
        yield document.fault(f"must be model, dataset, service or job, not {value.get('kind')!r}", "kind")
        return
    for field in document.twice:
        yield document.fault("stands there twice", field)
    for field, given in value.items():
        if field != "kind" and (wrong := _wrong(kind, str(field), given)):
            yield document.fault(wrong, str(field))
    for field in REQUIRED[kind]:
        if field not in value:
            yield document.fault(f"is missing: every {kind} has one", field)
    if kind == "model":
        yield from _artifact_faults(document, value)
    if kind == "dataset":
        yield from _data_faults(document, value)
    if kind == "job":
        yield from _work_faults(document, value)


def _artifact_faults(document: _Document, model: Mapping[str, object]) -> Iterator[str]:
    """A model's bytes: a file beside the document, or a source with its digest."""
    file = model.get("file")
    if ("file" in model) == ("source" in model):
        yield document.fault("a model has either a file, beside its document, or a source with its sha256", "file")
    elif ("source" in model) != ("sha256" in model):
        yield document.fault("stands beside a source, and tells without fetching whether it has changed", "sha256")
    else:
        yield from _missing_file(document, file, "file")


def _data_faults(document: _Document, dataset: Mapping[str, object]) -> Iterator[str]:
    """A dataset's data: a file or a folder of files beside the document, or a source that the platform reads."""
    if sum(each in dataset for each in ("file", "folder", "source")) != 1:
        what = "a dataset has either a file or a folder of files, beside its document, or a source"
        yield document.fault(what, "folder" if "folder" in dataset else "file")
    if "reference" in dataset and "source" not in dataset:
        yield document.fault("only a source can stay where it is", "reference")
    file, folder = dataset.get("file"), dataset.get("folder")
    if isinstance(file, str) and (document.path.parent / file).is_dir():
        yield document.fault(f"{document.path.parent / file} is a folder: for a dataset of files write folder:", "file")
    else:
        yield from _missing_file(document, file, "file")
    if isinstance(folder, str):
        if not (document.path.parent / folder).is_dir():
            yield document.fault(f"there is no folder {document.path.parent / folder}", "folder")
        for field in (each for each in READ_AS if each in dataset):
            yield document.fault("is for tables; this dataset has files", field)


def _work_faults(document: _Document, job: Mapping[str, object]) -> Iterator[str]:
    """What a job does: a model with an input, or a script."""
    if "script" not in job:
        for field in ("model", "input"):
            if field not in job:
                yield document.fault("is missing: a job has a model and an input, or a script", field)
        return
    for field in (each for each in ONLY_OF_BATCHES if each in job):
        yield document.fault("is for jobs with a model; this one has a script", field)
    script = job["script"]
    yield from _missing_file(document, script.get("file") if isinstance(script, dict) else None, "script")


def _missing_file(document: _Document, file: object, field: str) -> Iterator[str]:
    if isinstance(file, str) and not (document.path.parent / file).is_file():
        yield document.fault(f"there is no file {document.path.parent / file}", field)


def _wrong(kind: str, field: str, given: object) -> str | None:
    checks = FIELDS[kind]
    if field not in checks:
        near = get_close_matches(field, checks, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(checks)}"
        return f"a {kind} has no such field; {hint}"
    wrong = checks[field](given)
    shown = "" if field in SEALED else f", not {str(given)[:SHOWN]!r}"
    return wrong and f"{wrong}{shown}"


def _declared(document: _Document) -> Declared:
    value = document.value
    assert isinstance(value, dict)
    fields = {name: given for name, given in value.items() if name not in ("kind", "name", "file", "folder")}
    if "version" in fields:
        fields["version"] = str(fields["version"])
    beside = (value.get("script") or value).get("file")
    file = None if beside is None else document.path.parent / beside
    folder = None if "folder" not in value else document.path.parent / value["folder"]
    return Declared(value["kind"], value["name"], fields, f"{document.path}, document {document.number}", file, folder)
