"""A command that ends soon seldom looks for garbage, a process that stays does as Python usually does."""

import subprocess
import sys

COUNT = """
import gc, sys
usual = gc.get_threshold()
import portside.launcher
sys.argv = ["portside", "--help"]
try:
    portside.launcher.main()
except SystemExit:
    pass
rare = gc.get_threshold()
from cli.garbage import settle
gc.disable()
settle()
print(rare[0] > 10 * usual[0], gc.get_threshold() == usual, gc.isenabled(), gc.get_freeze_count() > 0, file=sys.stderr)
"""


def test_a_server_that_has_started_looks_as_usual_and_not_through_what_it_has_made() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.split() == ["True"] * 4
