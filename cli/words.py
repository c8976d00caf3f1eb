"""How documents of the API read in a line or a table."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cli.client import Document

FIELD_COLUMNS = ("", "name", "type", "what it takes")


def seconds_in_words(seconds: float) -> str:
    """`3.1 ms`, `1.42 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def age_in_words(instant: str, now: datetime | None = None) -> str:
    """How long ago an RFC 3339 instant is: `5s`, `12m`, `3h`, `9d`."""
    passed = ((now or datetime.now(UTC)) - datetime.fromisoformat(instant)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if passed >= length:
            return f"{passed // length:.0f}{unit}"
    return f"{max(passed, 0):.0f}s"


def window_in_words(seconds: int) -> str:
    """`30s`, `5m`, `1h`: the largest unit that divides it."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def minute_in_a_line(metrics: Document) -> str:
    """`last 1m: 120 predictions, 2 per second, 0 errors, p50 3.1 ms, p99 12.0 ms`."""
    minute = metrics["windows"][0]
    parts = [f"{minute['count']} predictions", f"{minute['rps']:g} per second", f"{minute['errors']} errors"]
    latency = minute["latency_ms"]
    parts += [f"{p} {seconds_in_words(latency[p] / 1000)}" for p in ("p50", "p99") if latency[p] is not None]
    return f"last {window_in_words(int(minute['window_s']))}: {', '.join(parts)}"


def off_in_lines(system: Document) -> list[str]:
    """`webhooks is off until …: the receiver moves`, for each switch that is."""
    return [
        f"{switch['name']} is off until {switch['expires_at'] or 'switched on'}: {switch['reason']}"
        for switch in system["switches"]
        if switch["off"]
    ]


def target_in_words(operation: Document) -> str:
    """`service iris`, `version iris@3`."""
    target = operation["target"]
    name = f"{target['model']}@{target['name']}" if target.get("model") else target["name"]
    return f"{target['type']} {name}"


def overview_in_words(version: Document) -> str:
    """`ONNX (opset 17), tree ensemble, classification, by skl2onnx 1.20`; of several models which there are."""
    if several := version.get("parts"):
        keys = [str(part["key"]) + (" (default)" if part["is_default"] else "") for part in several]
        return f"{len(keys)} models: {', '.join(keys[:6])}" + (" …" if len(keys) > 6 else "")
    parts = [str(version["format"] or "").upper() + _format_version(version)]
    if version.get("algorithm"):
        parts.append(str(version["algorithm"]["name"]))
    parts.append(str(version.get("task") or "").replace("_", " "))
    if producer := version.get("producer"):
        parts.append(" ".join(filter(None, ["by", producer["name"], producer.get("version")])))
    return ", ".join(filter(None, parts))


def _format_version(version: Document) -> str:
    if version.get("opset"):
        return f" (opset {version['opset']})"
    return f" {version['pmml_version']}" if version.get("pmml_version") else ""


def field_rows(version: Document) -> list[tuple[str, str, str, str]]:
    """A row per input and output, as `FIELD_COLUMNS` says."""
    first = 0 if version.get("batch") == "none" else 1  # of a record: the others begin with how many there are
    inputs = [("input", field["name"], _type(field, first), _takes(field)) for field in version.get("inputs") or ()]
    outputs = [
        ("output", field["name"], _type(field, first), str(field["role"])) for field in version.get("outputs") or ()
    ]
    return inputs + outputs


def field_names(fields: Sequence[Document]) -> str:
    """The first few fields with their types, in a line."""
    shown = [f"{field['name']} {_type(field)}" for field in fields[:4]]
    return ", ".join(shown) + (f" and {len(fields) - len(shown)} more" if len(fields) > len(shown) else "")


def _type(field: Document, first: int = 1) -> str:
    dimensions = ["?" if size < 0 else str(size) for size in field["shape"][first:]]
    return str(field["datatype"]) + (f"[{', '.join(dimensions)}]" if dimensions else "")


def _takes(field: Document) -> str:
    parts = [str(field["measure"])] if field.get("measure") else []
    if values := field.get("values"):
        parts.append("one of " + ", ".join(map(str, values[:6])) + ("…" if len(values) > 6 else ""))
    if not field.get("required", True):
        parts.append("optional")
    return "; ".join(parts)


def answer_in_words(output: object) -> str:
    """One record's answer: `setosa (100 %)`, `value 152.3`, `cluster 2`."""
    if not isinstance(output, dict):
        return str(output)[:80]
    if "label" in output:
        share = (output.get("probabilities") or {}).get(str(output["label"]))
        return str(output["label"]) + (f" ({share:.0%})" if isinstance(share, float | int) else "")
    return ", ".join(f"{name} {_short(value)}" for name, value in list(output.items())[:3])


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(_short(item) for item in value[:4]) + (", …]" if len(value) > 4 else "]")
    return str(value)[:40]
