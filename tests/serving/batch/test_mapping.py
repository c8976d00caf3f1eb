"""Columns find their inputs by the plan, by name and by position; what does not fit says which names there are."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from serving.batch.mapping import Binding, as_fed, bind
from serving.batch.plan import BatchFailed, Input, Plan
from serving.data.formats import Column, Format
from serving.signature import InputField, Signature
from tests.serving.models import scalar, signature_of

VECTOR = signature_of((InputField("x", "FP32", (-1, 2)),))
NAMED = signature_of((InputField("x", "FP32", (-1, 2), features=("age", "height")),))
TABLE = signature_of((scalar("age"), scalar("job", "BYTES"), InputField("note", "BYTES", (-1,), required=False)))


def bound(
    signature: Signature,
    columns: Sequence[str],
    mapping: Mapping[str, str | tuple[str, ...]] | None = None,
    through: Sequence[str] = (),
) -> Binding:
    return bind(Plan(Input(files=(Path("a"),)), mapping=mapping, pass_through=tuple(through)), signature, columns)


def fed(binding: Binding) -> dict[str, str]:
    return {each.name: each.column for each in binding.fed}


def test_inputs_are_found_by_name_and_other_columns_are_left() -> None:
    binding = bound(TABLE, ["id", "job", "age"], through=["id"])
    assert fed(binding) == {"age": "age", "job": "job"}
    assert binding.needed == ("age", "job", "id")


def test_a_mapping_names_what_is_called_otherwise_and_the_rest_is_found_by_name() -> None:
    assert fed(bound(TABLE, ["years", "job"], {"age": "years"})) == {"age": "years", "job": "job"}


def test_places_of_a_vector_are_found_by_their_names() -> None:
    assert fed(bound(NAMED, ["height", "age"])) == {"age": "age", "height": "height"}
    assert fed(bound(NAMED, ["h", "age"], {"height": "h"})) == {"age": "age", "height": "h"}


def test_columns_fill_a_vector_by_position_where_their_number_fits() -> None:
    assert fed(bound(VECTOR, ["a", "b"])) == {"x(0)": "a", "x(1)": "b"}
    assert fed(bound(VECTOR, ["id", "a", "b"], through=["id"])) == {"x(0)": "a", "x(1)": "b"}
    assert fed(bound(VECTOR, ["x"])) == {"x": "x"}


def test_several_columns_may_be_mapped_to_a_vector() -> None:
    binding = bound(VECTOR, ["c", "b", "a"], {"x": ("a", "a")})
    assert [each.column for each in binding.fed] == ["a", "a"]
    assert binding.needed == ("a",)


@pytest.mark.parametrize(
    ("signature", "columns", "mapping", "told"),
    [
        (TABLE, ["age"], None, "lacks the input 'job'"),
        (TABLE, ["age", "job"], {"agee": "age"}, "'agee' is not an input of this model"),
        (TABLE, ["age", "job"], {"age": "years"}, "the dataset has no column 'years' for 'age'"),
        (VECTOR, ["a", "b", "c"], None, "lacks the input 'x'"),
        (VECTOR, ["a", "b", "c"], {"x": ("a", "b", "c")}, "3 columns are given for 'x', which has 2 places"),
        (TABLE, ["age", "job"], {"age": ("age",)}, "1 columns are given for 'age', which is no vector"),
        (NAMED, ["age"], None, "height"),
        (TABLE, ["age", "age", "job"], None, "several columns 'age'"),
    ],
)
def test_what_does_not_fit_is_told_by_name(
    signature: Signature, columns: Sequence[str], mapping: Mapping[str, str | tuple[str, ...]] | None, told: str
) -> None:
    with pytest.raises(BatchFailed, match=re.escape(told)) as refused:
        bound(signature, columns, mapping)
    assert refused.value.code == "mapping_invalid"
    assert columns[0] in refused.value.hint or "places" in refused.value.hint


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(BatchFailed) as refused:
        bound(TABLE, ["age", "job"], through=["jobs"])
    assert refused.value.hint == "did you mean 'job'?"


def test_cells_are_read_as_what_they_feed() -> None:
    binding = bound(TABLE, ["age", "job", "id"], through=["id"])
    columns = (Column("age", "string"), Column("job", "int64", "int64"), Column("id", "int64", "int64"))
    read = as_fed(Format("csv", columns=columns), binding)
    assert [(each.name, each.type, each.arrow_type) for each in read.columns] == [
        ("age", "float64", ""),
        ("job", "string", ""),
        ("id", "int64", "int64"),
    ]
