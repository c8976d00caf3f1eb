"""The key file is there whole or not at all: without it nothing that was sealed can be opened again."""

import resource
import stat
import subprocess
import sys
from pathlib import Path

from core.secrets import Vault, load_key

# A process of its own, because no file that it writes may have any content: the disk is full for it.
ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from core.secrets import load_key
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
load_key(Path(sys.argv[1]))
"""


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    key = load_key(file)
    assert (len(key), load_key(file)) == (32, key)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_start_that_ends_while_it_makes_the_key_does_not_keep_the_next_one_from_it(
    tmp_path: Path, repository_root: Path
) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    file = tmp_path / "secret.key"
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(file)]
    ended = subprocess.run(command, cwd=repository_root, capture_output=True, text=True, check=False)
    assert "OSError" in ended.stderr
    assert not file.exists()
    assert len(load_key(file)) == 32


def test_every_process_with_the_key_derives_the_same_tokens_and_each_purpose_has_its_own() -> None:
    one, same, other = Vault(b"k" * 32), Vault(b"k" * 32), Vault(b"o" * 32)
    assert one.replica_token("rep_1") == same.replica_token("rep_1")
    tokens = {one.replica_token("rep_1"), one.replica_token("rep_2"), one.node_token(), other.replica_token("rep_1")}
    assert len(tokens) == 4
    assert {len(token) for token in tokens} == {64}
