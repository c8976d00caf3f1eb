"""Parts of a version are told by its signature, and asked for by a key that must be one of theirs."""

import pytest

from core.errors import InvalidField, NotFound
from state.database import Database
from state.parts import check_part, find_part, format_of, formats_within, parts_of
from state.queries.services import describe, served_by, signature_served
from state.revisions import Spec, add_revision
from state.tables import Model
from tests.state.rows import VAULT, make_service, make_version

ONE = {"format": "onnx"}
SEVERAL = {
    "format": "pmml",
    "parts": [
        {"key": "de", "signature": {"format": "onnx"}},
        {"key": "at", "signature": {"format": "onnx"}},
        {"key": "fr", "signature": {"format": "pmml"}},
    ],
}


def test_a_file_is_one_model_or_has_parts() -> None:
    assert (parts_of(None), parts_of(ONE), parts_of({**ONE, "parts": None})) == ((), (), ())
    assert [part["key"] for part in parts_of(SEVERAL)] == ["de", "at", "fr"]
    assert (format_of(ONE), format_of(SEVERAL)) == ("onnx", "parts")


def test_the_engines_of_all_parts_are_needed() -> None:
    assert formats_within(SEVERAL, "parts") == ["onnx", "pmml"]
    assert (formats_within(ONE, "onnx"), formats_within(None, "pmml")) == (["onnx"], ["pmml"])


def test_a_key_is_found_or_refused_with_the_known_ones() -> None:
    assert find_part(SEVERAL, "fr", "it")["signature"] == {"format": "pmml"}
    check_part(SEVERAL, "fr", "it")
    with pytest.raises(NotFound, match="it has no part 'es'; its parts: de, at, fr"):
        find_part(SEVERAL, "es", "it")
    for signature, words in ((SEVERAL, "its parts: de, at, fr"), (ONE, "one model without parts"), (None, "leave out")):
        with pytest.raises(InvalidField, match=words) as refused:
            check_part(signature, "es", "it")
        assert [(field.pointer, bool(field.hint)) for field in refused.value.fields] == [("/part", True)]


@pytest.mark.parametrize(("file_format", "signature"), [("onnx", {**ONE, "format": "onnx"}), ("parts", SEVERAL)])
async def test_a_service_runs_on_what_its_model_or_its_default_part_needs(
    database: Database, file_format: str, signature: dict[str, object]
) -> None:
    async with database.write() as session:
        service, version = await make_service(session), await make_version(session)
        version.format, version.signature = file_format, signature
        await session.flush()
        model = await session.get_one(Model, version.model_id)
        revision = await add_revision(session, VAULT, service, Spec(model, version, {}, {}, {}, {}))
        service.revision_id = service.live_revision_id = revision.id
    async with database.read() as session:
        (facts,) = await describe(session, [service])
        assert facts.live is not None
        assert facts.live.format == signature["format"]
        assert await signature_served(session, service) == signature
        assert (await served_by(session, service)).version == version.number
