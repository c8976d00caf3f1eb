"""From a batch, a version and a dataset to the plan of a script: which column feeds what, which files it reads.

The same rules as the run's own (`serving.batch`), as far as columns are known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from api.fitting import Input, check_fit, columns_of, fills_by_position, inputs_of, signature_of
from api.scripts.plan import Against, FileFormat, ScriptPlan, ScriptUnsupported
from api.scripts.render import render
from core.errors import FieldProblem, InvalidField
from state.datatables import Dataset
from state.jobs import Needs
from state.running import RunSpec

CHUNK_ROWS: Final = 4096
FILES_AT_ONCE: Final = 64  # in memory
PATH, CONTENT = "path", "content"  # what a file is as a row
FORMATS: Final[Mapping[str, FileFormat]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
SUFFIXES: Final[Mapping[str, str]] = {"gzip": ".gz", "zstd": ".zst"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A script: of which batch, over what, called how, asking whom. Without `against` whatever is possible."""

    name: str
    spec: RunSpec
    needs: Needs
    against: Against | None
    service: str
    api_url: str


def script_of(wanted: Wanted) -> str:
    """The script. Raises `InvalidField` for what no script does."""
    dataset = wanted.needs.dataset
    if dataset is not None:
        check_fit(wanted.spec, wanted.needs)
    plan = _plan(wanted)
    if wanted.against is not None:
        return _rendered(replace(plan, against=wanted.against))
    try:
        return render(plan)
    except ScriptUnsupported:
        return _rendered(replace(plan, against="api"))


def _rendered(plan: ScriptPlan) -> str:
    try:
        return render(plan)
    except ScriptUnsupported as error:
        raise InvalidField(str(error), fields=[FieldProblem("/against", str(error), "")]) from error


def _plan(wanted: Wanted) -> ScriptPlan:
    spec, needs = wanted.spec, wanted.needs
    signature = signature_of(needs.version, spec["part"])
    has_files = needs.dataset is not None and needs.dataset.kind == "files"
    columns = columns_of(needs)
    layout = _layout(spec, needs.dataset)
    format_ = _format(spec, layout)
    output: FileFormat = spec["output"]["format"] or format_
    inputs = inputs_of(signature)
    return ScriptPlan(
        against="file",
        model=needs.model.name,
        version=str(needs.version.number),
        model_format=signature.get("format", needs.version.format),
        task=str(needs.version.task or signature.get("task") or "tensor"),
        inputs=signature.get("inputs") or (),
        outputs=signature.get("outputs") or (),
        feeds={_taker(spec, inputs): CONTENT} if has_files else _feeds(spec, inputs, columns),
        batch=str(signature.get("batch") or "stack"),
        columns=columns or (),
        service=wanted.service,
        api_url=wanted.api_url,
        model_file=f"{needs.model.name}-{needs.version.number}.{signature.get('format', needs.version.format)}",
        input_file=_input_file(spec, needs.dataset, format_, layout),
        input_format="files" if has_files else format_,
        input_compression=layout.get("compression"),
        delimiter=layout.get("delimiter") or ",",
        quote=layout.get("quote", '"') or None,
        encoding=layout.get("encoding") or "utf-8",
        has_header=layout.get("has_header", True) is not False,
        null_values=layout.get("null_values") or ("",),
        pass_through=(PATH,) if has_files else _pass_through(spec, columns),
        output_file=f"{wanted.name}-output.{output}",
        output_format=output,
        most_bad={"skip": None, "fail": 0}.get(spec["on_error"]["policy"], spec["on_error"]["limit"]),
        chunk_rows=spec["chunk_rows"] or (FILES_AT_ONCE if has_files else CHUNK_ROWS),
        args=spec["args"],
    )


def _layout(spec: RunSpec, dataset: Dataset | None) -> Mapping[str, Any]:
    """How the input is read: what was found in the dataset, or what is said of the URI."""
    return dict(spec["input"]) if dataset is None else dict(dataset.layout or {})


def _format(spec: RunSpec, layout: Mapping[str, Any]) -> FileFormat:
    said = layout.get("format")
    if said is not None:
        return cast("FileFormat", said)
    suffixes = PurePosixPath(_basename(spec["input"].get("uri") or "")).suffixes
    return next((FORMATS[each] for each in reversed(suffixes) if each in FORMATS), "csv")


def _input_file(spec: RunSpec, dataset: Dataset | None, format_: str, layout: Mapping[str, Any]) -> str:
    if dataset is None:
        return _basename(spec["input"].get("uri") or "") or f"input.{format_}"
    if dataset.kind == "files":
        return f"{dataset.name}.zip"  # as the platform gives it
    return dataset.filename or f"{dataset.name}.{format_}{SUFFIXES.get(layout.get('compression') or '', '')}"


def _basename(uri: str) -> str:
    return PurePosixPath(unquote(urlsplit(uri).path)).name


def _pass_through(spec: RunSpec, columns: Sequence[str] | None) -> Sequence[str]:
    named = spec["pass_through"]
    if isinstance(named, list):
        return named
    if columns is None:
        detail = "which columns there are is not known, so that not all of them can be written"
        raise InvalidField(detail, fields=[FieldProblem("/pass_through", detail, "name them, or a ready dataset")])
    return columns


def _taker(spec: RunSpec, inputs: Mapping[str, Input]) -> str:
    """The one input that takes a file. Raises `InvalidField`."""
    chosen = [each for each in inputs.values() if not spec["mapping"] or each.name in spec["mapping"]]
    if len(chosen) != 1 or any(each.is_required for each in inputs.values() if each is not chosen[0]):
        detail, hint = "a file is one value, and the model takes several", f"it takes: {', '.join([*inputs][:20])}"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/input/dataset", detail, hint)])
    return chosen[0].name


def _feeds(
    spec: RunSpec, inputs: Mapping[str, Input], columns: Sequence[str] | None
) -> Mapping[str, str | Sequence[str]]:
    """The column of each input, or of each of its places; without known columns those that are called so."""
    mapping: Mapping[str, str | list[str]] = spec["mapping"] or {}
    known = frozenset(columns or ())  # of both there may be thousands
    feeds: dict[str, str | Sequence[str]] = {}
    for each in inputs.values():
        places = [place for place in each.places if place in mapping or columns is None or place in known]
        if each.name in mapping:
            feeds[each.name] = mapping[each.name]
        elif columns is not None and each.name in known and not any(place in mapping for place in each.places):
            feeds[each.name] = each.name
        elif each.places:
            feeds |= {place: mapping.get(place, place) for place in places}
        elif columns is None and each.width in (None, 1):
            feeds[each.name] = each.name
    if not feeds and columns is not None and fills_by_position(spec, inputs, columns):
        through, (only,) = spec["pass_through"], inputs.values()
        passed = frozenset(through) if isinstance(through, list) else frozenset()
        others = [name for name in columns if name not in passed]
        feeds[only.name] = list(columns) if len(columns) == only.width else others
    if not feeds:
        detail = "which columns fill the model's vectors is not known"
        hint = "name a ready dataset as the input, or the columns in mapping"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/mapping", detail, hint)])
    return feeds
