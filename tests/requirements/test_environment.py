"""Setting up: a Python that will not do is answered in one sentence, before anything is written."""

import subprocess
from pathlib import Path

import pytest

OLD = "#!/bin/sh\n[ \"$2\" = 'import sys; sys.exit(sys.version_info < (3, 11))' ] && exit 1\necho 'Python 3.8.18'\n"


@pytest.mark.parametrize(("chosen", "seen"), [("old", "is Python 3.8.18"), ("missing", "is not there")])
def test_a_python_that_will_not_do_is_answered_in_one_sentence(
    chosen: str, seen: str, tmp_path: Path, repository_root: Path
) -> None:
    script = tmp_path / "clone/requirements/environment.sh"
    script.parent.mkdir(parents=True)
    script.write_bytes((repository_root / "requirements/environment.sh").read_bytes())
    (tmp_path / "old").write_text(OLD)
    (tmp_path / "old").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(script), "product"],
        env={"PYTHON": str(tmp_path / chosen), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Portside needs Python 3.11 or newer")
    assert seen in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "clone/.venv").exists()
