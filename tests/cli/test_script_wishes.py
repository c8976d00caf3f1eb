"""What `portside jobs create --script` asks for, before anybody is asked."""

from pathlib import Path

import pytest

from cli.client import Platform
from cli.failure import CommandFailed, Exit
from cli.job_wishes import Said
from cli.script_wishes import ScriptSaid, script_wish

NOWHERE = Platform("http://127.0.0.1:1")  # a short text is sent with the job, and nothing before


def test_a_script_travels_with_its_job(tmp_path: Path) -> None:
    script, needs = tmp_path / "train.py", tmp_path / "requirements.txt"
    script.write_text("print('ä')\n", "utf-8")
    needs.write_text("idna==3.20\n")
    said = Said(name="train", env=["A=b"], args=["-v"], after="clean")
    more = ScriptSaid(
        script,
        None,
        needs,
        ["train=flats"],
        ["base=rent@3", "best=rent@champion"],
        ["m.onnx=rent@next"],
        ["r.csv=rows"],
    )
    assert script_wish(NOWHERE, None, said, more) == {
        "name": "train",
        "kind": "script",
        "after": "clean",
        "args": ["-v"],
        "env": {"A": "b"},
        "script": {"source": "print('ä')\n", "requirements": "idna==3.20\n"},
        "inputs": {"datasets": {"train": "flats"}, "models": {"base": "rent/3", "best": "rent@champion"}},
        "outputs": {"r.csv": {"dataset": "rows"}, "m.onnx": {"register": {"model": "rent", "alias": "next"}}},
    }


def test_options_win_over_the_file(tmp_path: Path) -> None:
    script, file = tmp_path / "train.py", tmp_path / "job.yaml"
    script.write_text("pass")
    file.write_text("kind: script\nname: a\ntimeout_s: 60\ninputs: {datasets: {train: flats}}\n")
    wish = script_wish(NOWHERE, file, Said(name="b"), ScriptSaid(script))
    assert (wish["name"], wish["timeout_s"], wish["inputs"]) == ("b", 60, {"datasets": {"train": "flats"}})


def test_options_stand_beside_what_the_file_says_of_the_same(tmp_path: Path) -> None:
    script, file = tmp_path / "train.py", tmp_path / "job.yaml"
    script.write_text("pass")
    file.write_text(
        "name: a\nscript: {entry: main.py}\ninputs: {models: {base: iris}}\noutputs: {a.csv: {dataset: d}}\n"
    )
    wish = script_wish(NOWHERE, file, Said(), ScriptSaid(script, reads=["train=flats"], keeps=["b.csv=e"]))
    assert wish["script"] == {"entry": "main.py", "source": "pass"}
    assert wish["inputs"] == {"models": {"base": "iris"}, "datasets": {"train": "flats"}}
    assert wish["outputs"] == {"a.csv": {"dataset": "d"}, "b.csv": {"dataset": "e"}}


@pytest.mark.parametrize(
    ("said", "more", "told"),
    [
        ({"name": None}, {}, "NAME"),
        ({"data": "flats"}, {}, "--input is of jobs that score"),
        ({"pass_through": ["id"]}, {}, "--pass is of jobs that score"),
        ({}, {"reads": ["flats"]}, "--read flats: write NAME=VALUE"),
        ({}, {"script": None, "reads": ["a=b"]}, "need --script"),
        ({}, {"script": Path("/nowhere/train.py")}, "/nowhere/train.py cannot be read"),
    ],
)
def test_what_fits_no_script_is_wrong_usage(
    tmp_path: Path, said: dict[str, object], more: dict[str, object], told: str
) -> None:
    script = tmp_path / "train.py"
    script.write_text("pass")
    with pytest.raises(CommandFailed) as caught:
        script_wish(NOWHERE, None, Said(**{"name": "n", **said}), ScriptSaid(**{"script": script, **more}))  # type: ignore[arg-type]
    assert (caught.value.exit_status, told in caught.value.message) == (Exit.USAGE, True), caught.value.message
