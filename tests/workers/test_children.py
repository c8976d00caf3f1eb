"""Short children and the environment that every child gets."""

import json
import sys
from pathlib import Path

from workers.children import ROOMS, child_environment, run_child

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


async def test_a_child_is_given_our_folders_whatever_the_user_wants(tmp_path: Path) -> None:
    wanted = {"PYTHONPATH": "elsewhere", "PORTSIDE_JVM_ARCHIVES": "elsewhere", "COLOR": "blue"}
    environment = child_environment(tmp_path, wanted)
    end = await run_child([sys.executable, "-c", SHOW], environment=environment, stdin=b"", timeout_s=20)
    seen = json.loads(end.stdout)
    assert seen["PYTHONPATH"] == str(ROOMS)
    assert seen["PORTSIDE_JVM_ARCHIVES"] == str(tmp_path / "jvm")
    assert seen["COLOR"] == "blue"
    assert seen["PYTHONNOUSERSITE"] == "1"  # a HOME of the user's would bring packages along
    assert "PYTEST_CURRENT_TEST" not in seen
