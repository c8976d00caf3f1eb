"""One archive with an ONNX and a PMML model, through the whole platform: one version, one service, each part by key."""

import json
from pathlib import Path
from typing import Any

import pytest

from portside import NotFound, Portside
from tests.e2e.commands import data, verb
from tests.e2e.conftest import EXAMPLES, GOOD, WAIT, succeeds
from tests.e2e.platform import RunningPlatform
from tests.e2e.wire import Answer, Wire, must_refuse
from tests.serving.archives import Content, make_archive

MODEL = "/api/v1/models/parts/versions/1"
SERVICE = "/api/v1/services/parts"
RAW = {"Content-Type": "application/zip", **WAIT}
PERSON = {"age_group": "40 to 59", "bmi_class": "normal", "bp": 88, "s5": 4.2}
ASKED: dict[str, dict[str, Any]] = {"flower": GOOD, "risk": {"inputs": PERSON}}
ALONE = {"flower": "iris", "risk": "risk"}
MODELS = {"flower": EXAMPLES / "iris.onnx", "risk": EXAMPLES / "diabetes-risk.pmml"}
FILES: dict[str, Content] = {
    "models/flower.onnx": MODELS["flower"],
    "models/risk.pmml": MODELS["risk"],
    "README.md": b"beside them",
}
MANIFEST = {"parts": {"risk": "models/risk.pmml", "flower": {"file": "models/flower.onnx"}}, "default": "flower"}


@pytest.fixture(scope="module", autouse=True)
def served(attacked: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, deployed as the service `parts`."""
    path = make_archive(tmp_path_factory.mktemp("parts") / "parts.zip", FILES, MANIFEST)
    wire = Wire(attacked.url)
    succeeds(wire, wire.ask("POST", "/api/v1/models/parts/versions", path.read_bytes(), RAW))
    succeeds(wire, wire.ask_json("POST", "/api/v1/services", {"name": "parts", "model": "parts"}, WAIT))
    return path


def outputs(answer: Answer) -> Any:
    assert answer.status in (200, 201), answer.body
    document = answer.document
    return document["output"] if "output" in document else document["outputs"]


@pytest.mark.parametrize("key", ASKED)
def test_a_part_answers_as_its_file_does_alone(wire: Wire, key: str) -> None:
    alone = outputs(wire.ask_json("POST", f"/api/v1/services/{ALONE[key]}/predict", ASKED[key]))
    assert outputs(wire.ask_json("POST", f"{SERVICE}/parts/{key}/predict", ASKED[key])) == alone
    assert outputs(wire.ask_json("POST", f"{SERVICE}/predictions", {**ASKED[key], "part": key}, WAIT)) == alone


@pytest.mark.parametrize("key", ASKED)
def test_a_part_is_downloaded_and_tested_by_its_key(attacked: RunningPlatform, key: str) -> None:
    wire = Wire(attacked.url)  # a Java that starts beside other tests
    content = MODELS[key].read_bytes()
    answer = wire.ask("GET", f"{MODEL}/parts/{key}/artifact")
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["etag"] == f'"{wire.ask("GET", f"{MODEL}/parts/{key}").document["digest"]}"'
    part = wire.ask("GET", f"{MODEL}/parts/{key}/artifact", headers={"Range": "bytes=1000-1999"})
    assert (part.status, part.body) == (206, content[1000:2000])
    tried = wire.ask_json("POST", f"{MODEL}/parts/{key}:test", ASKED[key])
    assert outputs(tried) == outputs(wire.ask_json("POST", f"/api/v1/services/{ALONE[key]}/predict", ASKED[key]))


def test_without_a_key_the_default_part_answers_everywhere(wire: Wire) -> None:
    alone = outputs(wire.ask_json("POST", "/api/v1/services/iris/predict", GOOD))
    served = wire.ask_json("POST", f"{SERVICE}/predict", GOOD)
    assert (outputs(served), served.document["part"]) == (alone, "flower")
    assert outputs(wire.ask_json("POST", f"{SERVICE}/predictions", GOOD, WAIT)) == alone
    assert outputs(wire.ask_json("POST", f"{MODEL}:test", GOOD)) == alone
    version = wire.ask("GET", MODEL).document
    assert (version["format"], version["sample"]) == ("parts", {"float_input": [1.0] * 4})
    assert outputs(wire.ask_json("POST", f"{SERVICE}/predict", {"inputs": version["sample"]}))


def test_generic_clients_ask_a_part_as_a_version_of_the_model(wire: Wire) -> None:
    tensor = {"name": "float_input", "shape": [1, 4], "datatype": "FP32", "data": GOOD["inputs"]["float_input"]}
    alone = wire.ask_json("POST", "/v2/models/iris/infer", {"inputs": [tensor]}).document["outputs"]
    found = wire.ask_json("POST", "/v2/models/parts/versions/flower/infer", {"inputs": [tensor]}).document
    assert (found["model_version"], found["outputs"]) == ("flower", alone)
    assert wire.ask("GET", "/v2/models/parts/versions/risk").document["platform"] == "pmml_pmmlv4"
    assert wire.ask("GET", "/v2/models/parts").document["versions"] == ["1", "risk", "flower"]


def test_a_key_that_is_not_there_is_refused_with_those_that_are(wire: Wire) -> None:
    for method, path in (
        ("POST", f"{SERVICE}/parts/es/predict"),
        ("GET", f"{MODEL}/parts/es"),
        ("GET", f"{MODEL}/parts/es/artifact"),
        ("POST", f"{MODEL}/parts/es:test"),
    ):
        answer = wire.ask_json(method, path, GOOD) if method == "POST" else wire.ask(method, path)
        must_refuse(answer, 404, "not_found")
        assert "its parts: risk, flower" in answer.document["detail"]
    must_refuse(wire.ask_json("POST", f"{SERVICE}/predictions", {**GOOD, "part": "es"}), 422, pointer="/part")
    must_refuse(wire.ask_json("POST", f"{SERVICE}/parts/flower/predict", {"inputs": {}}), 422)


@pytest.mark.parametrize(
    ("files", "manifest", "code", "words"),
    [
        (FILES, {"parts": {"de": "models/de.onnx"}}, "part_missing", "'models/de.onnx' as the part 'de'"),
        (FILES, {"parts": {}}, "manifest_invalid", "has no 'parts'"),
        ({"churn/portside.json": b"{}"}, None, "manifest_missing", "in the folder 'churn/'"),
        ({**FILES, "../x": b""}, MANIFEST, "archive_refused", "leads out"),
        ({"a": b"cos\nsystem\n."}, {"parts": {"de": "a"}}, "format_not_served", "the part 'de' (a) cannot be served"),
    ],
)
def test_an_archive_that_cannot_be_served_makes_an_invalid_version_that_says_why(
    wire: Wire, tmp_path: Path, files: dict[str, Content], manifest: object, code: str, words: str
) -> None:
    content = make_archive(tmp_path / "bad.zip", files, manifest).read_bytes()
    answer = wire.ask("POST", "/api/v1/models/bad-parts/versions", content, RAW)
    assert (answer.status, answer.document["code"]) == (422, code), answer.body
    assert words in answer.document["detail"]
    assert answer.document["errors"][0]["hint"]
    version = wire.ask("GET", "/api/v1/models/bad-parts/versions?order_by=-number").document["items"][0]
    assert (version["status"], version["reason"], version["parts"]) == ("invalid", code, None)


def test_the_python_client_and_the_command_line_ask_a_part(attacked: RunningPlatform, tmp_path: Path) -> None:
    with Portside(attacked.url) as platform:
        service = platform.services.get("parts")
        alone = platform.services.get("risk").predict(PERSON)
        assert service.predict(PERSON, part="risk") == alone
        assert service.submit(PERSON, part="risk").wait().output == alone
        assert [part["key"] for part in platform.models.get("parts").version().parts or ()] == ["risk", "flower"]
        with pytest.raises(NotFound, match="its parts: risk, flower"):
            service.predict({}, part="es")
    assert json.loads(data(attacked, "predict", "parts", "--part", "risk"))["part"] == "risk"
    made = json.loads(data(attacked, "predictions", "create", "parts", "--part", "risk", "-o", "json"))
    assert (made["status"], made["part"]) == ("succeeded", "risk")
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join(",".join(map(str, line)) for line in (PERSON, PERSON.values())))
    made = json.loads(data(attacked, "predictions", "create", "parts", "--part", "risk", f"@{rows}", "-o", "json"))
    assert (made["part"], made["input"]["columns"]) == ("risk", list(PERSON))
    assert made["output"]["data"] == [[alone["label"], *alone["probabilities"].values()]]
    shown = data(attacked, "models", "show", "parts@1")
    assert "2 models: risk, flower (default)" in shown
    assert "risk models/risk.pmml PMML, classification" in " ".join(shown.split())


@pytest.mark.parametrize("key", ASKED)
def test_the_command_line_downloads_and_tries_a_part(attacked: RunningPlatform, tmp_path: Path, key: str) -> None:
    file = tmp_path / "part"
    assert data(attacked, "models", "download", "parts@1", "--part", key, "-o", str(file)) == f"{file}\n"
    assert file.read_bytes() == MODELS[key].read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == ["part"]
    body = tmp_path / "body.json"
    body.write_text(json.dumps(ASKED[key]))
    tried = json.loads(data(attacked, "models", "test", "parts", f"@{body}", "--part", key))
    assert set(tried) == {"outputs", "stdout", "stderr", "duration_ms"}
    assert verb(attacked, "models", "download", "parts@1", "--part", "es", "-o", str(file)).exit_status == 3
