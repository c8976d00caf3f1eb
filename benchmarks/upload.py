"""What a 1 GiB upload adds to the memory of the platform's process, as a raw body and as a form."""

import time
from contextlib import suppress
from pathlib import Path

from benchmarks import sender
from benchmarks.figures import Figure
from benchmarks.platform import EXAMPLES, MIB, Broken, OneProcess, fresh_folder, running

UPLOAD_BYTES = 1024 * MIB
LIMIT_MIB = 64
RESET_PEAK = "5"  # proc(5), /proc/PID/clear_refs


def measure() -> list[Figure]:
    """Both spellings, each in a platform that has done nothing but a small upload before."""
    figures = []
    for as_form in (False, True):
        with fresh_folder() as data, running(data) as platform:
            platform.serve(EXAMPLES / "iris.onnx", "iris")  # what is loaded once is not the upload's
            figures += _upload(platform, as_form=as_form)
    return figures


def _upload(platform: OneProcess, *, as_form: bool) -> list[Figure]:
    status = Path(f"/proc/{platform.process.pid}")
    before_kib = _kib(status, "VmRSS")
    with suppress(PermissionError):  # without it the peak is that of the whole life: too high, never too low
        (status / "clear_refs").write_text(RESET_PEAK, "ascii")
    sent = sender.send_from_afar(platform, "large", UPLOAD_BYTES, as_form=as_form)
    extra_mib = (_kib(status, "VmHWM") - before_kib) / 1024
    began = time.perf_counter()
    platform.finish(platform.get(f"/api/v1/operations/{sent.operation}"))
    how = "multipart" if as_form else "raw"
    measured = f"{extra_mib:.1f} MiB above {before_kib / 1024:.0f} MiB"
    rate = f"{sent.seconds:.1f} s, {UPLOAD_BYTES / MIB / sent.seconds:.0f} MiB/s"
    return [
        Figure(f"memory of a 1 GiB upload, {how}", f"≤ {LIMIT_MIB} MiB", measured, extra_mib <= LIMIT_MIB),
        Figure("  its time", "", rate),
        Figure("  and to the end of its inspection", "", f"{time.perf_counter() - began:.1f} s"),
    ]


def _kib(process: Path, field: str) -> int:
    for line in (process / "status").read_text("ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise Broken(f"{process}/status has no {field}")
