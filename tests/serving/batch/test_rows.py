"""A batch answers every good row in order, tells every bad one, and writes the same bytes whenever it is asked."""

import gzip
import io
import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper
from pyarrow import compute, csv, parquet

from serving.answering import predict
from serving.batch.plan import BatchFailed
from serving.loading import load_scorer
from serving.score import Identity
from tests.serving.batch.runs import csv_format, made, read_parts, ready, table_plan
from tests.serving.engines.onnx_models import classifier, model, node, saved, tensor

IDENTITY = Identity("m", "m", "m", "1")
AB = csv_format(a="float64", b="float64")


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """A classifier of two features into `no` and `yes`."""
    return saved(classifier(zipped=False), tmp_path)


def written(folder: Path, text: str, name: str = "rows.csv") -> Path:
    file = folder / name
    file.write_text(text, "utf-8")
    return file


def lookup() -> onnx.ModelProto:
    """Looks `x` up among ten numbers, and refuses whatever is beyond them."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [10], [float(number) for number in range(10)])
    inputs, outputs = [tensor("x", [None], TensorProto.INT64)], [tensor("y", [None])]
    return model([node("Gather", "table x", "y")], inputs, outputs, [table])


def test_one_bad_row_of_a_hundred_thousand_is_told_and_all_others_are_scored(tmp_path: Path, examples: Path) -> None:
    rows = np.random.default_rng(1).uniform(0, 8, (100_000, 4)).round(2)
    lines = [",".join(map(str, row)) for row in rows.tolist()]
    lines[77_777] = "5.1,3.5,a lot,0.2"
    file = written(tmp_path, "\n".join(["sl,sw,pl,pw", *lines]) + "\n")
    plan = table_plan(file, csv_format(sl="float64", sw="float64", pl="float64", pw="float64"), pass_through="*")
    run = made(tmp_path / "out", examples / "iris.onnx", plan)
    (bad,) = run.bad
    assert bad == {
        "row": 77_777,
        "line": 77_779,
        "column": "pl",
        "reason": "'a lot' is not a number",
        "text": "5.1,3.5,a lot,0.2",
    }
    answered = csv.read_csv(io.BytesIO(b"".join(run.parts)))
    assert answered.num_rows == 99_999
    kept = np.delete(rows, 77_777, axis=0)
    assert (np.column_stack([answered.column(name) for name in ("sl", "sw", "pl", "pw")]) == kept).all()


def test_a_batch_answers_what_a_prediction_does(tmp_path: Path, examples: Path) -> None:
    for name in ("iris.onnx", "wine-clusters.onnx", "diabetes-risk.pmml", "breast-cancer-anomaly.onnx"):
        text = (examples / f"{name.split('.')[0]}.csv").read_bytes()
        scorer = load_scorer(examples / name, None, IDENTITY, 1).scorer
        told = predict(scorer, text, {b"content-type": b"text/csv"}, keeps_going=False)
        names = text.split(b"\n", 1)[0].decode().strip().split(",")
        read = csv.read_csv(io.BytesIO(text))
        kinds = {each: "string" if pa.types.is_string(read[each].type) else "float64" for each in names}
        file = tmp_path / f"{name}.csv"
        file.write_bytes(text)
        run = made(tmp_path / "out", examples / name, table_plan(file, csv_format(**kinds)))
        ours, theirs = csv.read_csv(io.BytesIO(b"".join(run.parts))), csv.read_csv(io.BytesIO(told.body))
        assert ours.column_names == theirs.column_names, name
        assert run.bad == [], name
        for column in ours.column_names:
            if pa.types.is_floating(theirs[column].type):
                given = compute.cast(ours[column], pa.float64()).to_numpy()
                assert np.allclose(given, theirs[column].to_numpy(), rtol=1e-6), (name, column)
            else:
                assert ours[column].to_pylist() == theirs[column].to_pylist(), (name, column)


def test_a_row_without_a_value_is_bad_and_those_beside_it_are_scored(tmp_path: Path, linear: Path) -> None:
    file = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"a": [1.0, None, 3.0, 4.0], "b": [1.0, 2.0, None, 4.0]}), file)
    run = made(tmp_path / "out", linear, table_plan(file, {"format": "parquet"}, pass_through=["a"]))
    assert [(each["row"], each["column"], each["line"]) for each in run.bad] == [(1, "a", None), (2, "b", None)]
    assert {each["reason"] for each in run.bad} == {"is null; it must be a number"}
    assert csv.read_csv(io.BytesIO(run.parts[0])).column("a").to_pylist() == [1, 4]


def test_a_row_that_the_engine_refuses_is_bad_with_its_line(tmp_path: Path) -> None:
    numbers = [str(at % 10) for at in range(5000)]
    numbers[4321] = "10"
    file = written(tmp_path, "x\n\n" + "\n".join(numbers) + "\n")
    run = made(tmp_path / "out", saved(lookup(), tmp_path), table_plan(file, csv_format(x="int64")))
    (bad,) = run.bad
    assert (bad["row"], bad["line"]) == (4321, 4324)
    assert "Gather" in str(bad["reason"])
    answers = csv.read_csv(io.BytesIO(run.parts[0])).column("y").to_pylist()
    assert answers == [float(number) for number in numbers if number != "10"]


def test_many_bad_rows_of_many_kinds_are_each_told_once(tmp_path: Path, examples: Path) -> None:
    text = (examples / "diabetes-risk.csv").read_text("utf-8").splitlines()
    rows = [line.split(",") for line in text[1:]] * 20
    for at, row in enumerate(rows):
        row[at % len(row)] = {0: "", 1: "many"}.get(at % 3, row[at % len(row)])
    file = written(tmp_path, "\n".join([text[0], *(",".join(row) for row in rows)]) + "\n")
    format_ = csv_format(**dict.fromkeys(text[0].split(","), "float64"))
    run = made(tmp_path / "out", examples / "diabetes-risk.onnx", table_plan(file, format_))
    told = [int(str(each["row"])) for each in run.bad]
    assert told == sorted(set(told))
    assert len(told) + b"".join(run.parts).count(b"\n") - 1 == len(rows)
    assert all(each["line"] == int(str(each["row"])) + 2 and each["reason"] for each in run.bad)


def test_every_format_has_the_same_rows(tmp_path: Path, linear: Path) -> None:
    file = written(tmp_path, "id,a,b\n" + "".join(f"n{at},{at / 7},{-at / 3}\n" for at in range(3000)))
    format_ = csv_format(id="string", a="float64", b="float64")
    tables = {}
    for kind in ("csv", "jsonl", "parquet", "arrow"):
        plan = table_plan(file, format_, pass_through=["id"], chunk_rows=1024) | {"output": {"format": kind}}
        run = made(tmp_path / "out", linear, plan)
        assert run.names == [f"chunk-{at:08d}.{kind}" for at in range(3)]
        tables[kind] = run.parts
    by_csv = csv.read_csv(io.BytesIO(b"".join(tables["csv"])))
    by_line = [json.loads(line) for line in b"".join(tables["jsonl"]).splitlines()]
    by_parquet = pa.concat_tables([parquet.read_table(io.BytesIO(part)) for part in tables["parquet"]])
    by_arrow = read_parts(tables["arrow"])
    assert by_parquet == by_arrow
    names = ["id", "label", "probability(no)", "probability(yes)"]
    assert by_csv.column_names == by_arrow.column_names == list(by_line[0]) == names
    singles = [
        [np.float32(value).item() if isinstance(value, float) else value for value in each.values()] for each in by_line
    ]
    assert singles == [list(row.values()) for row in by_arrow.to_pylist()]
    assert by_csv.column("label").to_pylist() == by_arrow.column("label").to_pylist()


def test_a_run_that_goes_on_anywhere_writes_the_very_bytes(tmp_path: Path, linear: Path) -> None:
    lines = [f'"{at}\n",{at}\n' if at % 700 == 0 else f"{at},{at}\n" for at in range(5000)]
    lines[3333] = "1,2,3\n"
    file = written(tmp_path, "a,b\n" + "".join(lines))
    plan = table_plan([file, file], AB, chunk_rows=1024)
    whole = made(tmp_path / "out", linear, plan)
    _, run = ready(tmp_path / "out", linear, plan)
    positions = [piece.next for piece in run.source.pieces()]
    assert len(positions) == len(whole.parts) == 10
    for position in positions:
        resume = {"position": msgspec.to_builtins(position), "chunks": position.chunk}
        rest = made(tmp_path / "out", linear, plan | {"resume": resume})
        assert rest.parts == whole.parts[position.chunk :]
        assert rest.names == whole.names[position.chunk :]


def test_parts_that_are_packed_concatenate_too(tmp_path: Path, linear: Path) -> None:
    file = written(tmp_path, "a,b\n" + "".join(f"{at},{at}\n" for at in range(2000)))
    plain = made(tmp_path / "out", linear, table_plan(file, AB, chunk_rows=1024))
    output = {"output": {"format": "csv", "compression": "gzip"}}
    packed = made(tmp_path / "out", linear, table_plan(file, AB, chunk_rows=1024) | output)
    assert packed.names[0] == "chunk-00000000.csv.gz"
    assert gzip.decompress(b"".join(packed.parts)) == b"".join(plain.parts)


def test_a_vector_is_a_list_and_in_csv_a_column_for_each_place(tmp_path: Path) -> None:
    doubled = saved(model([node("Add", "x x", "y")]), tmp_path)
    file = written(tmp_path, "a,b\n1,2\n3,4\n")
    by_csv = made(tmp_path / "out", doubled, table_plan(file, AB))
    assert by_csv.parts == [b'"y(0)","y(1)"\n2,4\n6,8\n']
    assert by_csv.started["columns"] == [{"name": "y(0)", "type": "float"}, {"name": "y(1)", "type": "float"}]
    by_arrow = made(tmp_path / "out", doubled, table_plan(file, AB) | {"output": {"format": "arrow"}})
    assert read_parts(by_arrow.parts).to_pylist() == [{"y": [2, 4]}, {"y": [6, 8]}]


def test_an_answer_whose_name_is_taken_is_called_predicted(tmp_path: Path, linear: Path) -> None:
    file = written(tmp_path, "a,b,label\n1,2,maybe\n")
    format_ = csv_format(a="float64", b="float64", label="string")
    run = made(tmp_path / "out", linear, table_plan(file, format_, pass_through=["label"], mapping={"x": ["a", "b"]}))
    assert run.parts[0].splitlines()[0] == b'"label","predicted_label","probability(no)","probability(yes)"'


def test_a_text_input_gets_the_cell_as_it_stands(tmp_path: Path) -> None:
    texts = [tensor("x", [None], TensorProto.STRING)], [tensor("y", [None], TensorProto.STRING)]
    echo = saved(model([node("Identity", "x", "y")], *texts), tmp_path)
    file = written(tmp_path, "x\n007\n1.50\n")
    run = made(tmp_path / "out", echo, table_plan(file, csv_format(x="float64")))
    assert run.parts == [b'"y"\n"007"\n"1.50"\n']


def test_a_model_that_mixes_rows_is_given_each_alone(tmp_path: Path) -> None:
    share = [node("ReduceSum", "x", "total", keepdims=1), node("Div", "x total", "y")]
    mixing = saved(model(share), tmp_path)
    file = written(tmp_path, "a,b\n1,1\n30,10\n")
    run = made(tmp_path / "out", mixing, table_plan(file, AB))
    assert run.parts == [b'"y(0)","y(1)"\n0.5,0.5\n0.75,0.25\n']


def test_the_rows_of_a_chunk_follow_from_their_width_and_from_that_of_the_answers(tmp_path: Path, linear: Path) -> None:
    narrow = written(tmp_path, "a,b\n" + "1,2\n" * 1000, "narrow.csv")
    assert ready(tmp_path / "out", linear, table_plan(narrow, AB))[1].as_json()["chunk_rows"] == 131_072
    wide = written(tmp_path, "a,b,c\n" + f"1,2,{'c' * 20_000}\n" * 10, "wide.csv")
    through = table_plan(wide, csv_format(a="float64", b="float64", c="string"), mapping={"x": ["a", "b"]})
    assert ready(tmp_path / "out", linear, through)[1].as_json()["chunk_rows"] in range(800, 1000)
    many = helper.make_tensor("many", TensorProto.INT64, [2], [1, 100_000])
    tiled = model([node("Tile", "x many", "y")], outputs=[tensor("y", [None, 200_000])], weights=[many])
    answers = ready(tmp_path / "out", saved(tiled, tmp_path), table_plan(narrow, AB))[1].as_json()["chunk_rows"]
    assert answers == 20


def test_what_is_no_number_is_an_empty_cell(tmp_path: Path) -> None:
    root = saved(model([node("Sqrt", "x", "y")]), tmp_path)
    file = written(tmp_path, "a,b\n4,-1\n")
    assert made(tmp_path / "out", root, table_plan(file, AB)).parts == [b'"y(0)","y(1)"\n2,\n']


def test_a_chunk_of_bad_rows_alone_is_written_too(tmp_path: Path, linear: Path) -> None:
    file = written(tmp_path, "a,b\n" + "none,1\n" * 1024 + "1,2\n")
    run = made(tmp_path / "out", linear, table_plan(file, AB, chunk_rows=1024))
    assert run.parts[0] == b'"label","probability(no)","probability(yes)"\n'
    assert run.parts[1].startswith(b'"yes"') or run.parts[1].startswith(b'"no"')
    assert len(run.bad) == 1024


def test_a_dataset_that_cannot_feed_the_model_is_refused_before_it_is_read(tmp_path: Path, linear: Path) -> None:
    file = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"a": [True], "b": ["text"]}), file)
    with pytest.raises(BatchFailed, match="'a' is of the type bool; the input 'x' takes a number") as refused:
        ready(tmp_path / "out", linear, table_plan(file, {"format": "parquet"}))
    assert refused.value.code == "mapping_invalid"
