"""What stands between a browser and the platform: pages of another origin, and a proxy that ends TLS."""

from collections.abc import Iterator

import pytest

from tests.e2e.platform import RunningPlatform
from tests.e2e.wire import Wire

PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def open_to_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTSIDE_CORS_ORIGINS", PAGE)
        platform = RunningPlatform.start(tmp_path_factory.mktemp("pages"))
    with platform:
        yield Wire(platform.url)


@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v1/services/iris/predict", "/v2/models/iris/infer"])
def test_a_page_may_ask_for_everything_that_the_platform_answers(open_to_pages: Wire, path: str) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = open_to_pages.ask("OPTIONS", path, headers=asked)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    refused = open_to_pages.ask("POST", path, b"{}", {"Origin": PAGE})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (403, PAGE)


def test_a_proxy_on_this_machine_says_what_the_client_called(open_to_pages: Wire) -> None:
    body = {"name": "behind-tls"}
    made = open_to_pages.ask_json("POST", "/api/v1/models", body, {"X-Forwarded-Proto": "https"})
    assert made.status == 201
    assert made.headers["location"].startswith("https://")
