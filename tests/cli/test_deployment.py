"""The plan of a deployment: a name from any file's name, and what cannot be uploaded said before anything is sent."""

from pathlib import Path

import pytest

from cli.deployment import Plan, name_from
from cli.failure import CommandFailed

NAMES = [
    ("iris.onnx", "iris"),
    ("Iris Forest (v2).ONNX", "iris-forest-v2"),
    ("2024_churn.pmml", "churn"),
    ("--x--.onnx", "x"),
    ("model.v1.onnx", "model-v1"),
    ("a" * 60 + ".onnx", "a" * 48),
    ("a" * 47 + "-b.onnx", "a" * 47),
]


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_a_name_is_made_of_the_files_name(file: str, name: str) -> None:
    assert name_from(Path(file)) == name


@pytest.mark.parametrize("file", ["模型.onnx", "123.onnx", "...onnx"])
def test_where_no_name_can_be_made_one_is_asked_for(file: str) -> None:
    with pytest.raises(CommandFailed, match="--name"):
        name_from(Path(file))


def test_the_plan_says_which_parts_are_defaults(tmp_path: Path) -> None:
    file = tmp_path / "iris.onnx"
    file.touch()
    plan = Plan.make(str(file), None, None, None, True, 1)
    assert (plan.service, plan.model) == ("iris", "iris")
    assert plan.origins == ("name from the file's name", "model named as the service")
    assert Plan.make(str(file), "a", "b", 2, True, 1).origins == ()


@pytest.mark.parametrize(("path", "why"), [(".", "is a folder"), ("none.onnx", "does not exist")])
def test_what_is_no_file_is_a_usage_error(tmp_path: Path, path: str, why: str) -> None:
    with pytest.raises(CommandFailed, match=why) as refused:
        Plan.make(str(tmp_path / path), None, None, None, True, 1)
    assert refused.value.exit_status == 2


def test_a_url_is_left_to_the_platform_and_names_the_service_by_its_path() -> None:
    plan = Plan.make("https://models.example/nightly/Iris%20v2.onnx?key=x.y", None, None, None, True, 1)
    assert (plan.service, plan.artifact.url) == ("iris-v2", "https://models.example/nightly/Iris%20v2.onnx?key=x.y")
