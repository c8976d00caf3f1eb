"""What a PMML file may not be, each refused with its line and a way out, without Java and in little memory."""

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.engines.base import InvalidModel
from serving.engines.pmml import PmmlEngine
from tests.serving.engines import pmml_texts as texts

BOMB = '<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'


def refusal(tmp_path: Path, content: str | bytes) -> InvalidModel:
    path = tmp_path / "model.pmml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidModel) as refused:
        PmmlEngine().describe(path)
    return refused.value


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        ("", "pmml_malformed", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "pmml_malformed", "line 1"),
        ("<html><body/></html>", "pmml_not_pmml", "line 1: the root element is <html>"),
        (texts.TREE.replace("<PMML", '<!DOCTYPE PMML SYSTEM "http://nowhere/x.dtd"><PMML'), "pmml_doctype", "line 2"),
        (BOMB + '<PMML version="4.4">&c;</PMML>', "pmml_doctype", "line 1"),
        (texts.TREE.replace('score="low"', 'score="&low;"'), "pmml_malformed", "undefined entity"),
        (texts.TREE[: len(texts.TREE) // 2], "pmml_malformed", "ends in the middle"),
        (texts.TREE.replace("</PMML>", ""), "pmml_malformed", "ends in the middle"),
        (texts.TREE.replace("</Node>", "</Knot>", 1), "pmml_malformed", "mismatched tag"),
        (texts.TREE.replace("<Node><True/>", "<Node><x:True/>"), "pmml_malformed", "unbound prefix"),
        (texts.TREE.replace("UTF-8", "klingon"), "pmml_malformed", "the encoding 'klingon' is not known"),
        (texts.TREE.replace("UTF-8", "zip"), "pmml_malformed", "the encoding 'zip' is not known"),
        (texts.TREE.replace("clerk", "clérk").encode("latin-1"), "pmml_malformed", "is not the utf-8"),
        (texts.TREE.replace('version="4.4"', 'version="5.0"'), "pmml_version_unsupported", "line 2: PMML 5.0"),
        (texts.TREE.replace('version="4.4"', 'version="2.1"'), "pmml_version_unsupported", "PMML 2.1"),
        (texts.TREE.replace('version="4.4"', ""), "pmml_invalid", "no version"),
        (texts.document(texts.number("x"), ""), "pmml_no_model", "holds no model"),
        (texts.document("", ""), "pmml_invalid", "declares no DataField"),
        (texts.TREE.replace(texts.HEAD, ""), "pmml_invalid", "no Header"),
        (texts.document(texts.number("x") * 2, ""), "pmml_duplicate_field", "DataField 'x' is declared twice"),
        (texts.REGRESSION.replace('leftMargin="0"', 'leftMargin="zero"'), "pmml_invalid", "'size' has an Interval"),
        (texts.LOGISTIC.replace('value="0"', 'value="none"', 1), "pmml_invalid", "of type integer but has the value"),
        (texts.TREE.replace('dataType="integer"', 'dataType="big"'), "pmml_invalid", "the unknown dataType 'big'"),
        (texts.TREE.replace('optype="continuous"', 'optype="big"', 1), "pmml_invalid", "the unknown optype 'big'"),
        (texts.REGRESSION.replace('coefficient="', 'coefficient="x', 1), "pmml_invalid", "the coefficient of <"),
        (texts.TREE.replace("functionName", "isScorable='false' functionName"), "pmml_invalid", "not scorable"),
        (texts.TREE.replace("TreeModel", "TimeSeriesModel"), "pmml_model_unsupported", "cannot run a TimeSeriesModel"),
        (texts.VOTES.replace("majorityVote", "selectAll"), "pmml_model_unsupported", "by 'selectAll'"),
        (texts.CLUSTERS.replace("centerBased", "distributionBased"), "pmml_model_unsupported", "distribution-based"),
    ],
)
def test_a_file_that_cannot_be_served_is_refused_with_its_reason(
    tmp_path: Path, content: str | bytes, code: str, said: str
) -> None:
    refused = refusal(tmp_path, content)
    assert (refused.code, said in refused.message) == (code, True), refused.message


def test_a_field_that_is_used_but_not_declared_is_named_with_its_line(tmp_path: Path) -> None:
    lines = texts.TREE.replace("<MiningField", "\n<MiningField").replace(texts.number("age", "integer"), "").split("\n")
    line = next(number for number, text in enumerate(lines, 1) if '<MiningField name="age"' in text)
    refused = refusal(tmp_path, "\n".join(lines))
    assert refused.code == "pmml_undeclared_field"
    assert refused.message == f"line {line}: DataField 'age' is used but not declared"
    assert "DataDictionary" in refused.hint


def test_a_field_that_only_a_predicate_names_is_missed_too(tmp_path: Path) -> None:
    refused = refusal(tmp_path, texts.TREE.replace('SimplePredicate field="job"', 'SimplePredicate field="jobs"', 1))
    assert (refused.code, "'jobs'" in refused.message) == ("pmml_undeclared_field", True)


def test_a_derived_field_is_no_input_of_the_first_model(tmp_path: Path) -> None:
    refused = refusal(tmp_path, texts.DATED.replace('<MiningField name="day"/>', '<MiningField name="days"/>'))
    assert refused.message.endswith("DataField 'days' is used but not declared")


@pytest.fixture
def frugal() -> Iterator[None]:
    """Fails where reading takes 3 seconds or 48 MiB."""
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    yield
    assert time.process_time() - begun < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 48 * 1024


def written(path: Path, head: bytes, piece: bytes, times: int) -> Path:
    with path.open("wb") as file:
        file.write(head)
        for _ in range(times):
            file.write(piece)
    return path


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize(
    ("head", "piece", "code"),
    [
        (b'<PMML version="4.4">', b"<a>" * 350_000, "pmml_too_deep"),
        (b'<PMML version="4.4"><Extension>', b"<a>" * 350_000, "pmml_too_deep"),
        (b'<PMML version="4.4"><Header description="', b"x" * 1_000_000, "pmml_invalid"),
        (b'<PMML version="4.4"><!--', b"x" * 1_000_000, "pmml_invalid"),
    ],
)
def test_a_hundred_megabytes_of_abyss_are_refused_at_once(tmp_path: Path, head: bytes, piece: bytes, code: str) -> None:
    path = written(tmp_path / "model.pmml", head, piece, 100)
    with pytest.raises(InvalidModel) as refused:
        PmmlEngine().describe(path)
    assert refused.value.code == code


@pytest.mark.usefixtures("frugal")
def test_a_long_text_is_passed_over_in_constant_memory(tmp_path: Path) -> None:
    path = written(tmp_path / "model.pmml", b'<PMML version="4.4"><Header>', b"x" * 1_000_000, 100)
    with pytest.raises(InvalidModel, match="ends in the middle"):
        PmmlEngine().describe(path)
