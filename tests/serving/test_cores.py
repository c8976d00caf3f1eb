"""A process has the cores that it may run on, or the time that its container is given."""

import os
from pathlib import Path

import pytest

from serving.cores import usable_cores


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    return 4


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 4), ("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 2), ("900000 100000", 4), ("", 4)],
)
def test_a_quota_of_version_2_counts(tmp_path: Path, cores: int, quota: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert usable_cores(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [(-1, 4), (100_000, 1), (250_000, 3)])
def test_a_quota_of_version_1_counts(tmp_path: Path, cores: int, quota: int, expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == expected


def test_without_a_quota_all_cores_count(tmp_path: Path, cores: int) -> None:
    assert usable_cores(tmp_path) == cores
