"""What a 1 GiB upload adds to the memory of the platform's process, as a raw body and as a form."""

import json
from contextlib import suppress
from pathlib import Path

from benchmarks import sender
from benchmarks.figures import Figure
from benchmarks.platform import EXAMPLES, MIB, Broken, Platform, fresh_folder, running

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


def _upload(platform: Platform, *, as_form: bool) -> list[Figure]:
    status = Path(f"/proc/{platform.process.pid}")
    before_kib = _kib(status, "VmRSS")
    with suppress(PermissionError):  # without it the peak is that of the whole life: too high, never too low
        (status / "clear_refs").write_text(RESET_PEAK, "ascii")
    with sender.start(int(platform.address[1]), "large", UPLOAD_BYTES, as_form=as_form) as upload:
        said, _ = upload.communicate()
    if upload.returncode:
        raise Broken("the upload failed")
    extra_mib = (_kib(status, "VmHWM") - before_kib) / 1024
    seconds = json.loads(said)["seconds"]
    how = "multipart" if as_form else "raw"
    measured = f"{extra_mib:.1f} MiB above {before_kib / 1024:.0f} MiB"
    rate = f"{seconds:.1f} s, {UPLOAD_BYTES / MIB / seconds:.0f} MiB/s"
    return [
        Figure(f"memory of a 1 GiB upload, {how}", f"≤ {LIMIT_MIB} MiB", measured, extra_mib <= LIMIT_MIB),
        Figure("  its time", "", rate),
    ]


def _kib(process: Path, field: str) -> int:
    for line in (process / "status").read_text("ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise Broken(f"{process}/status has no {field}")
