"""`python -m serving data describe`: types over the whole file, statistics, a preview, and lines for what is wrong."""

import gzip
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from serving.data import describe
from serving.data.describe import Describer
from serving.data.formats import DatasetInvalid
from serving.data.recognise import Said
from tests.serving.data.tables import written

Told = Mapping[str, Any]


def told(path: Path, said: Said | None = None, *, is_quick: bool = False, preview_rows: int = 500) -> Any:
    describer = Describer(
        path, said or Said(), "", preview_rows=preview_rows, is_quick=is_quick, report=lambda size, rows: None
    )
    return json.loads(describer.describe())


def types(document: Any) -> dict[str, str]:
    return {column["name"]: column["type"] for column in document["columns"]}


def column(document: Any, name: str) -> Any:
    return next(each for each in document["columns"] if each["name"] == name)


def test_a_csv_is_told_with_types_statistics_and_a_preview(tmp_path: Path) -> None:
    text = (
        "id,price,name,when,day,ok,zip,none\n"
        '1,1.5,"Ann, A.",2026-01-01 10:00:00,2026-01-01,true,01234,\n'
        "2,,Bob,2026-01-02 10:00:00,2026-01-02,false,98765,\n"
        "3,4,Bob,,2026-01-03,true,00001,\n"
    )
    found = told(written(tmp_path, text))
    assert types(found) == {
        "id": "int64",
        "price": "float64",
        "name": "string",
        "when": "timestamp",
        "day": "date",
        "ok": "bool",
        "zip": "string",
        "none": "null",
    }
    assert (found["rows"], found["rows_are_estimated"], found["size_bytes"]) == (3, False, len(text))
    price = column(found, "price")
    assert (price["nulls"], price["min"], price["max"], price["mean"], price["distinct"]) == (1, 1.5, 4.0, 2.75, 2)
    assert column(found, "ok")["true_count"] == 2
    assert column(found, "when")["max"] == "2026-01-02T10:00:00"
    assert column(found, "name")["examples"] == ["Ann, A.", "Bob"]
    assert found["preview"]["rows"][1] == [2, None, "Bob", "2026-01-02T10:00:00", "2026-01-02", False, "98765", None]
    assert found["warnings"] == []


@pytest.mark.parametrize("begun_again_bytes", [0, 2**30])
def test_types_are_those_of_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_again_bytes: int
) -> None:
    monkeypatch.setattr(describe, "PIECE_BYTES", 2048)
    monkeypatch.setattr(describe, "BEGUN_AGAIN_BYTES", begun_again_bytes)
    lines = [f"{number},{number},{number},,2026-01-01,{number},true" for number in range(3000)]
    lines[2499] = "2500,0.5,1,7,2026-01-01 12:00:00,NA,true"
    lines[2500] = "2500,1,many,,2026-01-01,1,true"
    lines[2501:] = [line.replace(",true", ",maybe") for line in lines[2501:]]
    found = told(written(tmp_path, "\n".join(["a,b,c,d,e,f,g", *lines])))
    names = {"a": "int64", "b": "float64", "c": "int64", "d": "int64", "e": "timestamp", "f": "int64", "g": "string"}
    assert types(found) == names
    assert (column(found, "b")["max"], column(found, "d")["nulls"], column(found, "f")["nulls"]) == (2999.0, 2998, 1)
    assert (column(found, "c")["invalid"], found["bad_rows"]) == (1, 1)
    assert any("line 2502, column 'c': 'many' is not a whole number" in each for each in found["warnings"])
    assert (column(found, "g")["max"] is None) is (begun_again_bytes == 0)


def test_a_column_with_more_than_a_few_other_words_is_text(tmp_path: Path) -> None:
    lines = [f"{number}" for number in range(1000)]
    lines[500] = lines[900] = "n.a."
    found = told(written(tmp_path, "\n".join(["a", *lines])))
    assert types(found) == {"a": "string"}
    assert found["bad_rows"] == 0


@pytest.mark.parametrize("place", [100, 100_000, 199_999])
def test_a_column_of_numbers_stays_one_over_one_odd_cell_wherever_it_is(tmp_path: Path, place: int) -> None:
    cells = ["0.5"] * 200_000
    cells[place] = "oops"
    cells[150_000] = "NA"
    found = told(written(tmp_path, "\n".join(["a,b", *(f"{cell},x{cell}" for cell in cells)])))
    assert types(found) == {"a": "float64", "b": "string"}
    assert (column(found, "a")["invalid"], column(found, "a")["nulls"], found["bad_rows"]) == (1, 1, 1)
    assert any(f"line {place + 2}, column 'a': 'oops' is not a number" in each for each in found["warnings"])


def test_one_odd_cell_of_a_hundred_makes_a_column_text(tmp_path: Path) -> None:
    found = told(written(tmp_path, "\n".join(["a", *["0.5"] * 50, "oops", *["0.5"] * 49])))
    assert (types(found), found["bad_rows"]) == ({"a": "string"}, 0)


@pytest.mark.parametrize("cell", ["01234", "12345678901234567890", "2026-01-31T12:00:00+01:00", "2026-99-99"])
def test_what_names_something_stays_text_over_one_odd_cell(tmp_path: Path, cell: str) -> None:
    found = told(written(tmp_path, "\n".join(["a", *[cell] * 2000, "oops", *[cell] * 2000])))
    assert (types(found), found["bad_rows"]) == ({"a": "string"}, 0)


def test_numbers_of_json_lines_stay_such_over_one_odd_value(tmp_path: Path) -> None:
    lines = ['{"a":0.5}'] * 200_000
    lines[100] = '{"a":"oops"}'
    found = told(written(tmp_path, "\n".join(lines), "table.jsonl"))
    assert types(found) == {"a": "float64"}
    assert column(found, "a")["invalid"] == 1


def test_long_digits_are_names_and_not_numbers(tmp_path: Path) -> None:
    found = told(written(tmp_path, "card,n\n12345678901234567890,1\n99999999999999999999,2\n"))
    assert types(found) == {"card": "string", "n": "int64"}


def test_a_file_most_of_whose_rows_are_bad_is_refused_with_the_first_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match=r"the first has 3 cells where there are 2 columns") as caught:
        told(written(tmp_path, "a,b\n" + "1,2,3\n" * 100))
    assert caught.value.line == 2


def test_json_lines_are_told_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "PIECE_BYTES", 2048)
    lines = [json.dumps({"a": number, "b": "x", "v": [1, 2.5], "o": {"p": number}}) for number in range(3000)]
    lines[1500] = json.dumps({"a": 0.5, "late": True})
    lines[1501] = "{broken"
    found = told(written(tmp_path, "\n".join(lines), "t.jsonl"))
    assert types(found) == {"a": "float64", "b": "string", "v": "list", "o": "json", "late": "bool"}
    assert column(found, "v")["arrow_type"] == "list<item: double>"
    assert (column(found, "late")["nulls"], column(found, "late")["true_count"]) == (2998, 1)
    assert (column(found, "b")["nulls"], found["rows"], found["bad_rows"]) == (1, 3000, 1)
    assert any("line 1502" in each for each in found["warnings"])
    assert found["preview"]["columns"] == ["a", "b", "v", "o", "late"]
    assert found["preview"]["rows"][0] == [0, "x", [1, 2.5], {"p": 0}, None]


def table() -> pa.Table:
    return pa.table(
        {
            "n": pa.array([1, None, 3], pa.int32()),
            "x": [1.5, float("nan"), float("inf")],
            "d": pa.array(["u", "v", "u"]).dictionary_encode(),
            "l": [[1], [], None],
            "s": [{"a": 1}, {"a": 2}, None],
            "b": [b"\xff", b"", None],
        }
    )


@pytest.mark.parametrize("format", ["parquet", "file", "stream", "packed"])
@pytest.mark.parametrize("is_quick", [False, True])
def test_tables_tell_their_own_types(tmp_path: Path, format: str, is_quick: bool) -> None:
    sink = io.BytesIO()
    if format == "parquet":
        parquet.write_table(table(), sink)
    else:
        with (ipc.new_file if format == "file" else ipc.new_stream)(sink, table().schema) as writer:
            writer.write_table(table())
    content = gzip.compress(sink.getvalue()) if format == "packed" else sink.getvalue()
    found = told(written(tmp_path, content), is_quick=is_quick)
    names = {"n": "int64", "x": "float64", "d": "string", "l": "list", "s": "struct", "b": "binary"}
    assert types(found) == names
    assert column(found, "n")["arrow_type"] == "int32"
    assert (found["rows"], column(found, "n")["nulls"], column(found, "n")["max"]) == (3, 1, 3)
    assert found["preview"]["rows"][0] == [1, 1.5, "u", [1], {"a": 1}, "/w=="]
    assert found["preview"]["rows"][2] == [3, None, "u", None, None, None]


def test_a_quick_description_estimates_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "PIECE_BYTES", 4096)
    monkeypatch.setattr(describe, "SAMPLE_BYTES", 20_000)
    path = written(tmp_path, "a,b\n" + "".join(f"{number:06},{number % 7}\n" for number in range(20_000)))
    found = told(path, is_quick=True)
    assert found["rows_are_estimated"]
    assert 18_000 < found["rows"] < 22_000


def run(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "serving", "data", *arguments]
    return subprocess.run(command, capture_output=True, timeout=300, check=False, **options)


def test_the_command_prints_a_document_and_reports_its_progress(tmp_path: Path) -> None:
    draw = random.Random(1)
    path = written(tmp_path, "a,b\n" + "".join(f"{draw.random()},{draw.random()}\n" for _ in range(100_000)))
    reader, writer = os.pipe()
    try:
        done = run(["describe", str(path), "--report-fd", str(writer), "--memory-mb", "400"], pass_fds=[writer])
        reports = os.read(reader, 65536).splitlines()
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 100_000
    assert set(json.loads(reports[0])) == {"bytes", "rows"}


def test_thousands_of_text_columns_need_no_memory_of_their_own(tmp_path: Path) -> None:
    lines = [",".join(f"c{place}" for place in range(6000))]
    lines += [",".join(f"{row}{place}{'x' * 60}" for place in range(6000)) for row in range(6)]
    done = run(["describe", str(written(tmp_path, "\n".join(lines))), "--memory-mb", "1024"])
    assert done.returncode == 0, done.stdout[:500]
    assert len(json.loads(done.stdout)["columns"]) == 6000


def test_the_command_refuses_with_a_line_and_a_hint(tmp_path: Path) -> None:
    done = run(["describe", str(written(tmp_path, "a,b\n1,2\n\n4,\x00\n"))])
    assert done.returncode == 65, done.stderr
    document = json.loads(done.stdout)
    assert (document["code"], document["line"]) == ("dataset_invalid", 4)
    assert document["hint"]


def test_the_command_refuses_other_columns_than_those_of_a_first_file(tmp_path: Path) -> None:
    first, second = written(tmp_path, "a,b\n1,2\n", "1.csv"), written(tmp_path, "a,c\n1,2\n", "2.csv")
    columns = run(["describe", str(first)]).stdout.decode()
    assert run(["describe", str(first), "--columns-from", columns]).returncode == 0
    done = run(["describe", str(second), "--columns-from", columns])
    assert (done.returncode, json.loads(done.stdout)["message"]) == (65, "the columns are a, c, not a, b")


def test_what_is_said_in_no_json_is_an_error_of_usage(tmp_path: Path) -> None:
    path = str(written(tmp_path, "a\n1\n"))
    assert run(["describe", path, "--format", "{"]).returncode == 2
    assert run(["describe", path, "--format", '{"delimeter": ";"}']).returncode == 2
    assert run(["describe", str(tmp_path / "none")]).returncode == 2


def test_a_long_file_is_described_in_little_memory(tmp_path: Path) -> None:
    lines = "".join(f"{number},{number / 7},word {number % 50}\n" for number in range(50_000)).encode()
    path = tmp_path / "long.csv.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(b"a,b,c\n")
        for _ in range(30):  # 45 MB
            file.write(lines)
    done = run(["describe", str(path), "--memory-mb", "220"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["rows"] == 1_500_000


def test_days_that_are_none_make_a_column_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "PIECE_BYTES", 4096)
    lines = [f"2026-01-{number % 28 + 1:02},{number}" for number in range(1000)]
    lines += [f"2026-{number % 12 + 13}-01,{number}" for number in range(1000)]
    found = told(written(tmp_path, "\n".join(["day,n", *lines])))
    assert types(found) == {"day": "string", "n": "int64"}
    assert found["bad_rows"] == 0


def test_whole_numbers_that_no_float_has_stand_beside_floats(tmp_path: Path) -> None:
    lines = b'{"a":1.5,"b":9007199254740993}\n{"a":9007199254740993,"b":-9223372036854775808}\n{"a":null,"b":null}\n'
    found = told(written(tmp_path, lines.decode(), "a.jsonl"))
    assert types(found) == {"a": "float64", "b": "int64"}
    assert column(found, "a")["max"] == 9007199254740992.0
    assert column(found, "b")["max"] == 9007199254740993


def test_lists_in_lists_are_cut_in_the_preview_and_the_examples(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"a": pa.array([[["x" * 900] * 100] * 100] * 5), "b": pa.array([[1, 2]] * 5)}), file)
    assert file.stat().st_size < 10_000
    describer = Describer(file, Said(), "", preview_rows=500, is_quick=False, report=lambda size, rows: None)
    text = describer.describe()
    assert len(text) < 100_000
    found = json.loads(text)
    assert len(found["preview"]["rows"]) == 5
    assert found["preview"]["rows"][0][0][0][0] == "x" * 900
    assert found["preview"]["rows"][0][0][-1] == "…"
    assert found["preview"]["rows"][0][1] == [1, 2]


def test_what_is_told_of_many_columns_together_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    names = [f"c{place}" for place in range(3000)]
    texts = pa.array([f"{number}{'x' * 990}" for number in range(10)])
    parquet.write_table(pa.table(dict.fromkeys(names, texts)), file)
    found = told(file)
    assert len(json.dumps(found["columns"])) < 3_000_000
    assert column(found, "c7")["min"].startswith("0xx")


def test_a_column_with_an_endless_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"n" * 100_000: [1]}), file)
    with pytest.raises(DatasetInvalid, match="has a name of 100000 characters"):
        told(file)
