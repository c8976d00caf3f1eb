"""Every exception of the client library and of the HTTP library below it becomes ours, none passes the door."""

from collections.abc import Iterator
from types import ModuleType
from xml.etree.ElementTree import ParseError

import minio.error
import pytest
import urllib3.exceptions
from minio.error import MinioAdminException, S3Error
from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.exceptions import MaxRetryError

from core.errors import DiskFull, StoreUnavailable
from storage.s3 import FULL, REFUSED, mapped_errors

NOT_MET = (MinioAdminException,)  # of MinIO's own administration, which no store uses
OTHERS = (ParseError, ValueError, UnicodeDecodeError, ConnectionResetError, BrokenPipeError, TimeoutError)


def exceptions_of(module: ModuleType) -> Iterator[type[Exception]]:
    """What the module defines; warnings are no errors."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Exception) and not issubclass(value, (Warning, *NOT_MET)):
            yield value


def raised(error: Exception) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught, mapped_errors():
        raise error
    return caught.value


ALL = {kind.__name__: kind for kind in (*exceptions_of(minio.error), *exceptions_of(urllib3.exceptions), *OTHERS)}


@pytest.mark.parametrize("foreign", ALL.values(), ids=ALL.keys())
def test_each_foreign_exception_becomes_store_unavailable_with_a_sentence(foreign: type[Exception]) -> None:
    error: Exception
    if foreign is S3Error:
        error = answered("InternalError", 500)
    elif foreign is MaxRetryError:
        error = MaxRetryError(HTTPConnectionPool("host"), "/key", None)
    else:
        error = foreign.__new__(foreign)  # their signatures differ; only the class decides
        Exception.__init__(error, "their words")
    ours = raised(error)
    assert ours.__cause__ is error
    assert ours.message.endswith(".") or "their words" in ours.message


def test_the_list_of_exceptions_is_not_empty() -> None:
    assert len(list(exceptions_of(minio.error))) >= 4
    assert len(list(exceptions_of(urllib3.exceptions))) >= 25


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        *((code, 403, "PORTSIDE_S3_SECRET_KEY") for code in sorted(REFUSED)),
        ("NoSuchBucket", 404, "does not exist: make it"),
        ("AuthorizationHeaderMalformed", 400, "PORTSIDE_S3_REGION"),
        ("RequestTimeTooSkewed", 403, "clocks"),
        ("NoSuchUpload", 404, "send it again"),
        ("SomethingNew", 418, "SomethingNew: their words"),
    ],
)
def test_each_answer_says_what_to_do(code: str, status: int, said: str) -> None:
    ours = raised(answered(code, status))
    assert said in ours.message
    assert ours.status == 503


@pytest.mark.parametrize(("code", "status"), [*((code, 400) for code in sorted(FULL)), ("SomethingNew", 507)])
def test_each_answer_of_a_full_server_is_a_full_disk(code: str, status: int) -> None:
    assert isinstance(raised(answered(code, status)), DiskFull)


def test_our_own_errors_pass_as_they_are() -> None:
    ours = StoreUnavailable("as it was")
    assert raised(ours) is ours


def answered(code: str, status: int) -> S3Error:
    return S3Error(HTTPResponse(status=status), code, "their words", "/bucket/key", "1", "2", "bucket", "key")
