"""The platform is found by argument, environment and default, and a token is shown to nobody else."""

import ssl
from pathlib import Path

import pytest

from core.settings import Settings
from portside import InvalidAddress, InvalidInput, Portside, Unauthorized
from portside.address import Address, data_folder, folder_token
from portside.transport import trusted
from tests.portside.documents import problem, service
from tests.portside.scripted import Say, asking, scripted

UNKNOWN = Say(401, problem(401))


def test_what_is_given_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {"PORTSIDE_API": "http://there:1/", "PORTSIDE_TOKEN": "pst_there"}
    assert Address.find(None, None, {}) == Address("http://127.0.0.1:8000", None)
    assert Address.find(None, None, environment) == Address("http://there:1", "pst_there")
    assert Address.find("http://here", "pst_here", environment) == Address("http://here", "pst_here")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://[::1", "http://host:99999"])
def test_an_address_that_is_no_url_is_said_before_anything_is_sent(url: str) -> None:
    with pytest.raises(InvalidAddress, match="PORTSIDE_API"):
        Portside(url)


def test_a_token_with_other_letters_is_said_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match="token"):
        Portside("http://host", "pst_…")


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [
        ("http://localhost:1", True),
        ("http://127.8.8.8", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1", False),
        ("https://localhost.example", False),
    ],
)
def test_only_this_machine_goes_without_the_proxies_of_the_environment(url: str, is_loopback: bool) -> None:
    assert Address(url).is_loopback is is_loopback


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with asking(Say(200, service())) as (_, platform):
        assert platform.services.get("iris").status == "running"


def test_a_plain_address_waits_for_no_certificates_and_believes_none() -> None:
    plain = trusted("http://127.0.0.1:8000")
    assert isinstance(plain, ssl.SSLContext)
    assert (plain.verify_mode, plain.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert plain.cert_store_stats()["x509_ca"] == 0
    assert trusted("https://portside.example") is True


def test_the_data_folder_is_the_one_that_the_platform_uses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("PORTSIDE_DATA", ""), ("XDG_DATA_HOME", str(tmp_path)), ("XDG_DATA_HOME", "")):
        monkeypatch.setenv(name, value)
        if name == "PORTSIDE_DATA":
            monkeypatch.delenv(name)
        assert data_folder() == Settings().data
    monkeypatch.setenv("PORTSIDE_DATA", str(tmp_path / "own"))
    assert data_folder() == Settings().data


def test_a_platform_of_this_user_that_asks_for_a_token_gets_the_one_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTSIDE_DATA", str(tmp_path))
    (tmp_path / "token").write_text("pst_folder\n")
    with asking(UNKNOWN, Say(200, service()), Say(200, service())) as (server, platform):
        (tmp_path / "address").write_text(server.url)
        platform.services.get("iris")
        platform.services.get("iris")
    assert [seen.headers.get("authorization") for seen in server.seen] == [None, *["Bearer pst_folder"] * 2]


def test_no_other_server_gets_to_see_the_token_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_DATA", str(tmp_path))
    (tmp_path / "token").write_text("pst_folder")
    (tmp_path / "address").write_text("http://127.0.0.1:1")
    with asking(UNKNOWN) as (_, platform), pytest.raises(Unauthorized, match="PORTSIDE_TOKEN"):
        platform.services.get("iris")
    assert folder_token("http://127.0.0.1:1") == "pst_folder"
    assert folder_token("http://127.0.0.1:1", {"PORTSIDE_DATA": str(tmp_path / "none")}) is None


def test_a_token_that_was_given_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_DATA", str(tmp_path))
    (tmp_path / "token").write_text("pst_folder")
    with scripted(UNKNOWN) as server, Portside(server.url, "pst_given") as platform:
        (tmp_path / "address").write_text(server.url)
        with pytest.raises(Unauthorized):
            platform.services.get("iris")
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer pst_given"]
