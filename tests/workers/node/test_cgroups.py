"""Where groups for scripts can be made, as /proc tells it; what they limit is tried by `make limits`."""

import os
import sys
from pathlib import Path

import pytest

from core.settings import MIB
from workers.node.cgroups import ground_at, ground_of, group_of
from workers.node.isolation import Isolation, lodging

PLAIN = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot"
PART = "29 23 0:26 /docker/4f1 /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw"
HYBRID = "42 32 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
OLD = "33 32 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


@pytest.mark.parametrize(
    ("mounts", "cgroup", "found"),
    [
        ([PLAIN], "0::/system.slice/portside.service", "/sys/fs/cgroup/system.slice/portside.service"),
        ([PLAIN], "0::/", "/sys/fs/cgroup"),
        ([PLAIN], "0::/system.slice/portside.service/portside-node", "/sys/fs/cgroup/system.slice/portside.service"),
        ([PART], "0::/docker/4f1", "/sys/fs/cgroup"),
        ([PART], "0::/docker/4f1/below", "/sys/fs/cgroup/below"),
        ([PART], "0::/docker/77a", None),
        ([PLAIN], "0::/../elsewhere", None),
        ([OLD, HYBRID], "5:memory:/x\n0::/user", "/sys/fs/cgroup/unified/user"),
        ([OLD], "5:memory:/x", None),
    ],
)
def test_the_own_group_is_found_also_where_only_a_part_of_the_tree_is_seen(
    tmp_path: Path, mounts: list[str], cgroup: str, found: str | None
) -> None:
    for name, text in (("mountinfo", "\n".join(mounts)), ("cgroup", cgroup)):
        (tmp_path / "self").mkdir(exist_ok=True)
        (tmp_path / "self" / name).write_text(f"{text}\n")
    assert group_of("self", tmp_path) == (None if found is None else Path(found))


@pytest.mark.parametrize("name", ["", "not-there"])
def test_what_is_said_to_be_a_cgroup_and_is_none_is_told(tmp_path: Path, name: str) -> None:
    ground = ground_of(tmp_path / name, prepares=True)
    assert (ground.base, ground.controllers) == (None, frozenset())
    assert ground.obstacle == f"PORTSIDE_SCRIPT_CGROUP {tmp_path / name} is no cgroup v2"
    assert list(tmp_path.iterdir()) == []
    assert "cannot be read" in str(ground_at(tmp_path / name, os.getpid()).obstacle)


def test_of_a_platform_that_runs_only_what_it_has_is_told(tmp_path: Path) -> None:
    for name, text in (("controllers", "cpu io memory pids"), ("subtree_control", "io pids")):
        (tmp_path / f"cgroup.{name}").write_text(text)
    ground = ground_at(tmp_path, os.getpid())
    assert ground.controllers == {"pids"}
    assert str(ground.obstacle).endswith("does not limit cpu, memory")
    assert "can be seen from here" in str(ground_at(None, 0).obstacle)


def test_memory_is_limited_for_each_process_where_the_group_cannot_be_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Isolation(Path(sys.executable), tmp_path, range(0), tmp_path / "gone", frozenset({"memory", "pids"}))
    with lodging(gone, "one", 64, 10) as lodged:
        assert lodged.cgroup is None
        assert lodged.limits["RLIMIT_DATA"] == 64 * MIB
        assert lodged.limits.get("RLIMIT_NPROC", 0) < 10_000
    assert "without a cgroup" in caplog.text


def test_a_group_that_cannot_be_given_its_limits_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limited = Isolation(Path(sys.executable), tmp_path, range(0), tmp_path, frozenset({"memory"}))
    (tmp_path / "portside-one").write_text("in the way")
    with lodging(limited, "one", 64, 10) as lodged:
        assert lodged.cgroup is None
        assert "RLIMIT_DATA" in lodged.limits
    assert "without a cgroup" in caplog.text
