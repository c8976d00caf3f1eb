"""What stands in for `serving data describe` where a test is about the worker: quick, and it refuses, crashes or hangs
as the data say. The real one is tested in `tests/serving/data`, and both together in `tests/e2e`."""

import sys
from pathlib import Path

PROGRAM = """#!{python}
import json, os, signal, sys
words = sys.argv[sys.argv.index("data") + 2:]
options = dict(zip(words[1::2], words[2::2]))
data = open(words[0], "rb").read()
os.write(int(options["--report-fd"]), json.dumps({{"bytes": len(data), "rows": data.count(b"\\n")}}).encode() + b"\\n")
if data.startswith(b"refuse"):
    said = {{"message": "it is torn", "hint": "mend it", "line": 3, "column": "b"}}
    print(json.dumps({{"code": "dataset_invalid", **said}}))
    sys.exit(65)
if data.startswith(b"crash"):
    os.kill(os.getpid(), signal.SIGSEGV)
if data.startswith(b"hang"):
    signal.pause()
names = data.split(b"\\n")[0].decode().split(",")
columns = [{{"name": name, "type": "string", "arrow_type": "string", "nullable": True, "nulls": 0}} for name in names]
layout = {{"format": "csv", "compression": None, **json.loads(options.get("--format", "{{}}"))}}
rows = [line.decode().split(",") for line in data.split(b"\\n")[1:-1]]
print(json.dumps({{"format": layout, "rows": len(rows), "rows_are_estimated": False, "size_bytes": len(data),
    "columns": columns, "warnings": [], "preview": {{"columns": names, "rows": rows[:500]}}}}))
"""


def stand_in(folder: Path) -> str:
    """The path of an interpreter that answers so, for `PORTSIDE_SERVING_PYTHON`."""
    program = folder / "describer"
    program.write_text(PROGRAM.format(python=sys.executable), "utf-8")
    program.chmod(0o700)
    return str(program)
