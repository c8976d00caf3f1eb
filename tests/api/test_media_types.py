"""Content types as clients write them, and as nobody should: read the same everywhere, or refused at once."""

import time
from collections.abc import Mapping

import pytest

from api.media_types import MediaType, read_media_type
from core.errors import UnsupportedMediaType
from serving.parameters import parameters


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        ("text/csv", "text/csv", {}),
        ("Text/CSV; Header=absent;charset=utf-8", "text/csv", {"header": "absent", "charset": "utf-8"}),
        ('text/csv ; header="present";', "text/csv", {"header": "present"}),
        ("multipart/form-data; boundary=----WebKit7MA", "multipart/form-data", {"boundary": "----WebKit7MA"}),
        ("multipart/form-data; boundary=----=_Part_1/2:3", "multipart/form-data", {"boundary": "----=_Part_1/2:3"}),
        ('multipart/form-data; boundary="a; b, <c>"', "multipart/form-data", {"boundary": "a; b, <c>"}),
        ("application/vnd.acme.v1+json; charset=utf-8", "application/vnd.acme.v1+json", {"charset": "utf-8"}),
    ],
)  # fmt: skip
def test_what_is_read_is_what_the_model_server_reads(given: str, kind: str, told: Mapping[str, str]) -> None:
    assert read_media_type(given) == MediaType(kind, told)
    assert {name: value for name, value in parameters(given).items() if name} == told


@pytest.mark.parametrize(
    "given",
    [
        "",
        "csv",
        "text/csv header=absent",
        "text/csv; header",
        "text/csv; header=absent; header*=utf-8''x",
        "text/csv; header=absent; Header=present",
        "multipart/form-data; boundary*0=a; boundary*1=b",
        'text/csv; header="absent',
        'text/csv; header="ab\\"sent"',
        "text/csv; header=<absent>",
        "text/csv; charset=\xe9",
        "text/csv; charset=utf-8\r\nX-Other: 1",
        "text/csv; charset=\x00",
    ],
)
def test_what_two_readers_could_take_differently_is_refused(given: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"^the Content-Type .* cannot be read: ") as refused:
        read_media_type(given)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("given", ["text/csv" + ";a=b" * 50_000, "text/csv; a=" + '"' * 100_000, " ;" * 50_000])
def test_an_endless_one_is_refused_at_once(given: str) -> None:
    began = time.process_time()
    for text in (given, given[:500]):
        with pytest.raises(UnsupportedMediaType):
            read_media_type(text)
    assert time.process_time() - began < 0.5
