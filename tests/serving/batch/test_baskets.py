"""An association model over rows of items: a row's answer depends on those before it in its basket, wherever chunks
and calls of the engine are cut."""

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from serving.batch.mapping import bind
from serving.batch.outputs import output_columns
from serving.batch.plan import BatchFailed, Input, Plan
from serving.batch.scoring import ChunkScorer
from serving.engines.base import Columns, LoadedModel, PredictionRefused
from serving.loading import load_scorer
from serving.score import Identity, Scorer
from tests.serving.batch.runs import Made, csv_format, made, ready, table_plan
from tests.serving.engines import pmml_texts as texts

FORMAT = csv_format(basket="string", item="string")
IDENTITY = Identity("rules", "rules", "rules", "1")
Rows = Sequence[tuple[str | None, str | None]]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Beer in a basket says that there will be crisps."""
    file = tmp_path / "rules.pmml"
    file.write_text(texts.TRANSACTIONS)
    return file


def baskets(count: int, longest: int) -> list[tuple[str, str]]:
    chance = random.Random(7)
    lengths = [chance.randint(1, longest) for _ in range(count)]
    return [(f"b{at}", chance.choice(["milk", "beer", "bread"])) for at in range(count) for _ in range(lengths[at])]


def expected(rows: Rows) -> list[str | None]:
    """What the rule says of each row: beer has been seen in its basket. Rows without an item are no rows."""
    found, so_far, before = [], False, None
    for basket, item in rows:
        if basket is None or item is None:
            continue
        so_far, before = (so_far and basket == before) or item == "beer", basket
        found.append("crisps" if so_far else None)
    return found


def written(file: Path, rows: Rows) -> Path:
    columns = zip(*rows, strict=True)
    parquet.write_table(pa.table(dict(zip(("basket", "item"), map(list, columns), strict=True))), file)
    return file


def answers(run: Made) -> list[str | None]:
    """What is expected beside the items of each row, if anything is."""
    told = csv.read_csv(pa.BufferReader(b"".join(run.parts))).column("rules").to_pylist()
    found = [msgspec.json.decode(each) for each in told]
    return [rules[0]["consequent"] if rules else None for rules in found]


@pytest.mark.parametrize(("chunk_rows", "call_rows"), [(1, 8192), (4, 8192), (5, 2), (64, 3), (64, 8192), (1000, 16)])
def test_no_basket_is_split(
    tmp_path: Path, rules: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int, call_rows: int
) -> None:
    monkeypatch.setattr("serving.batch.scoring.MOST_ROWS", call_rows)  # a figure
    rows = baskets(60, 9)
    plan = table_plan(written(tmp_path / "rows.parquet", rows), {"format": "parquet"}, chunk_rows=chunk_rows)
    run = made(tmp_path / "out", rules, plan)
    assert answers(run) == expected(rows)
    assert (run.bad, sum(run.rows_in)) == ([], len(rows))


def test_bad_rows_are_left_out_of_their_baskets_and_named_with_their_lines(tmp_path: Path, rules: Path) -> None:
    rows: list[tuple[str | None, str | None]] = [*baskets(20, 6)]
    rows[3], rows[40] = (rows[3][0], None), (None, "beer")
    file = tmp_path / "rows.csv"
    file.write_text("basket,item\n" + "".join(f"{basket or ''},{item or ''}\n" for basket, item in rows))
    run = made(tmp_path / "out", rules, table_plan(file, FORMAT, chunk_rows=7, pass_through=["item"]))
    assert [(each["row"], each["line"]) for each in run.bad if each["row"] in (3, 40)] == [(3, 5), (40, 42)]
    assert answers(run) == expected([row for at, row in enumerate(rows) if at not in {each["row"] for each in run.bad}])


def test_a_run_goes_on_anywhere_with_the_same_bytes(tmp_path: Path, rules: Path) -> None:
    rows = [("long", "beer"), *[("long", "milk")] * 20, *baskets(10, 5)]
    plan = table_plan(written(tmp_path / "rows.parquet", rows), {"format": "parquet"}, chunk_rows=6)
    whole = made(tmp_path / "out", rules, plan)
    assert answers(whole) == expected(rows)
    _, run = ready(tmp_path / "out", rules, plan)
    for piece in list(run.source.pieces()):
        resume = {"position": msgspec.to_builtins(piece.next), "chunks": piece.next.chunk}
        rest = made(tmp_path / "out", rules, plan | {"resume": resume})
        assert rest.parts == whole.parts[piece.next.chunk :]


def test_a_basket_that_never_ends_is_refused(tmp_path: Path, rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.batch.baskets.MOST_BEFORE", 10)  # a figure
    file = written(tmp_path / "rows.parquet", [("one", "milk")] * 30)
    with pytest.raises(BatchFailed, match="as if they were one basket"):
        made(tmp_path / "out", rules, table_plan(file, {"format": "parquet"}, chunk_rows=4))


class Squeamish:
    """The model, but for a basket with poison in it."""

    execution_provider = "JVM"

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def predict(self, columns: Columns) -> Columns:
        if "poison" in columns["item"]:
            raise PredictionRefused("there is poison in it")
        return self._model.predict(columns)

    def close(self) -> None:
        self._model.close()


def test_a_basket_that_the_engine_refuses_is_bad_as_a_whole_and_those_beside_it_are_answered(
    tmp_path: Path, rules: Path
) -> None:
    rows = [*baskets(9, 4), ("bad", "beer"), ("bad", "poison"), ("bad", "milk"), *baskets(9, 4)]
    table = pa.table(dict(zip(("basket", "item"), map(list, zip(*rows, strict=True)), strict=True)))
    whole = load_scorer(rules, None, IDENTITY, 1).scorer
    scorer = Scorer(whole.signature, Squeamish(whole.loaded), IDENTITY)
    binding = bind(Plan(Input()), scorer.signature, table.column_names)
    by = ChunkScorer(scorer, binding, output_columns(scorer, ()), basket="basket")
    scored, bad = by.score(table, lambda _: None), [at for at, (basket, _) in enumerate(rows) if basket == "bad"]
    assert [(each.at, each.column) for each in scored.faults] == [(at, None) for at in bad]
    assert {each.reason for each in scored.faults} == {
        "its basket is refused: the model refuses this input: there is poison in it"
    }
    assert scored.kept is not None
    assert scored.kept.tolist() == [at for at in range(len(rows)) if at not in bad]
