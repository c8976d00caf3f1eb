"""A sample of the broken data files of `make fuzz`: each is read or refused in words, and none ends the child."""

from pathlib import Path

import pytest

from tests.fuzz.data_campaign import treat
from tests.fuzz.data_files import handmade, mutated

SEED = 7
COUNT = 75
SOON = ("names.csv", "ends.csv", "deep.jsonl", "huge.jsonl", "9999.csv", "repeated.arrow")
CLAIMS = ("claims-a-billion.parquet", "claims-all.parquet", "claims-less.parquet", "wide.csv")


@pytest.mark.slow
def test_no_broken_file_ends_a_child(tmp_path: Path) -> None:
    chosen = list(handmade(*SOON, *CLAIMS))
    treated = treat([*chosen, *mutated(SEED, COUNT)], tmp_path)
    assert not treated.faults, "\n".join(treated.lines())
    assert sum(count for what, count in treated.outcomes.items() if what.startswith("described")) == COUNT + len(chosen)
    assert treated.outcomes["described: dataset_invalid"] > COUNT // 2
    assert treated.outcomes["described: read"]


def test_a_file_that_ends_a_child_is_found(tmp_path: Path) -> None:
    treated = treat([("a.csv", b"a\n1\n"), ("b.csv", b"b\n1\n")], tmp_path, longest_s=0.001)
    assert [fault.partition(":")[0] for fault in treated.faults] == [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert "ended the child with -14" in treated.faults[0]
