"""One bucket of an S3 server: the door to its client library, whose errors become ours in one place.

Everything here blocks and is called from threads; every call is bounded in time by `Patience`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.commonconfig import CopySource
from minio.datatypes import Part
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from minio.helpers import check_bucket_name
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from core.errors import DiskFull, StoreUnavailable
from storage.access import Patience, S3Access

LISTED_AT_ONCE: Final = 1000
CONNECTIONS: Final = 16
# A server that copies says nothing until it is done, so it is waited for by size.
COPIED_BYTES_PER_S: Final = 20 * 1024 * 1024
LONGEST_SIGNED: Final = timedelta(days=7)
PASSING: Final = (500, 502, 503, 504)

FULL: Final = frozenset({"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded"})
REFUSED: Final = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AllAccessDisabled"}
)
ELSEWHERE: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "Redirect", "BadRequest"})


class KeyMissing(Exception):
    """The bucket is there and has no object of this key."""


class BehindEnd(Exception):
    """The range begins behind the object's last byte."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a listing."""

    key: str
    changed_at: datetime


class Answer:
    """The body of one object on its way."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def read(self, most_bytes: int) -> bytes:
        """The next bytes, none at the end. Raises `StoreUnavailable` also when the end comes too early."""
        with mapped_errors():
            return self._response.read(most_bytes)

    def close(self) -> None:
        """Let the connection go; one with unread bytes on it is closed."""
        self._response.close()
        self._response.release_conn()


class S3Bucket:
    """The verbs that a store needs; all raise `StoreUnavailable` and, where they write, `DiskFull`.

    The library keeps the steps of a multipart upload to itself (underscored names): the contract tests hold them, and
    its version is pinned below the next minor one.
    """

    def __init__(self, name: str, access: S3Access, patience: Patience) -> None:
        """Raises ValueError that names what is wrong; nothing is asked of the server yet."""
        parts = urlsplit(access.endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
            raise ValueError(f"PORTSIDE_S3_ENDPOINT is {access.endpoint!r}: write https://HOST or https://HOST:PORT.")
        if not (access.access_key and access.secret_key):
            raise ValueError("An s3:// store needs PORTSIDE_S3_ACCESS_KEY and PORTSIDE_S3_SECRET_KEY.")
        _check_name(name)
        self._name, self._access, self._patience = name, access, patience
        self._host, self._secure = parts.netloc, parts.scheme == "https"
        self._once = self._client(patience.read_s, reconnects=0, repeats=0)
        self._brief = self._client(patience.read_s, reconnects=patience.repeats)
        self._patient = self._client(patience.read_s, reconnects=patience.reconnects)

    def put(self, key: str, data: bytes) -> None:
        """Make or replace the object in one step."""
        with mapped_errors():
            self._patient._put_object(self._name, key, data)

    def begin(self, key: str) -> str:
        """Begin a multipart upload; its id."""
        with mapped_errors():
            return self._patient._create_multipart_upload(self._name, key, {})

    def send_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """Store one part; its tag. Parts are numbered from 1."""
        with mapped_errors():
            return self._patient._upload_part(self._name, key, data, None, upload_id, number)

    def complete(self, key: str, upload_id: str, tags: Sequence[str], size_bytes: int) -> None:
        """Make the object of its parts."""
        parts = [Part(number, tag) for number, tag in enumerate(tags, 1)]
        with mapped_errors():
            try:
                done = self._patient._complete_multipart_upload(self._name, key, upload_id, parts)
            except S3Error as error:
                # The first answer may have been lost, and the second says that there is no such upload (any more).
                if error.code == "NoSuchUpload" and self._holds(key, size_bytes):
                    return
                raise
            if not done.etag:  # S3 may answer 200 at once and put the error into the body
                raise StoreUnavailable("The S3 server could not put the parts together; send the file again.")

    def abort(self, prefix: str, begun_before: datetime | None = None) -> int:
        """End the multipart uploads below a prefix that began before; how many. Servers differ in listing a prefix.

        All list what lies under exactly one key; Amazon's lists real prefixes too.
        """
        count = 0
        with mapped_errors():
            for upload in self._brief._list_multipart_uploads(self._name, prefix=prefix).uploads:
                is_old = begun_before is None or (upload.initiated_time and upload.initiated_time <= begun_before)
                if not is_old or upload.upload_id is None or not upload.object_name.startswith(prefix):
                    continue
                try:
                    self._brief._abort_multipart_upload(self._name, upload.object_name, upload.upload_id)
                    count += 1
                except S3Error as error:
                    if error.code != "NoSuchUpload":
                        raise
        return count

    def copy(self, source: str, target: str, size_bytes: int) -> None:
        """Copy an object within the server, in one step up to 5 GiB and as a multipart upload beyond."""
        read_s = self._patience.read_s + size_bytes / COPIED_BYTES_PER_S
        client = self._client(read_s, reconnects=self._patience.reconnects)
        with mapped_errors():
            client.copy_object(self._name, target, CopySource(self._name, source))

    def get(self, key: str, start: int, stop: int | None) -> Answer:
        """The object's bytes from `start` to before `stop`. Raises `KeyMissing` and `BehindEnd`."""
        length = 0 if stop is None else stop - start
        with mapped_errors():
            try:
                return Answer(self._patient.get_object(self._name, key, offset=start, length=length))
            except S3Error as error:
                if error.code == "NoSuchKey":
                    raise KeyMissing(key) from error
                if error.code == "InvalidRange":
                    raise BehindEnd(key) from error
                raise

    def size_bytes(self, key: str) -> int:
        """The object's size. Raises `KeyMissing`."""
        with mapped_errors():
            try:
                return self._brief.stat_object(self._name, key).size or 0
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                # An answer to HEAD has no body, so it does not tell a missing key from a missing bucket.
                if not self._brief.bucket_exists(self._name):
                    raise StoreUnavailable(NO_BUCKET) from error
                raise KeyMissing(key) from error

    def remove(self, key: str) -> None:
        """Remove the object; one that is not there is no error. Asked once: a repeat could hit what was put since."""
        with mapped_errors():
            self._once.remove_object(self._name, key)

    def page(self, prefix: str, after: str = "") -> list[Listed]:
        """The next objects below a prefix in the order of keys, at most `LISTED_AT_ONCE`; none at the end."""
        with mapped_errors():
            objects = self._brief.list_objects(self._name, prefix=prefix, recursive=True, start_after=after or None)
            return [
                Listed(one.object_name, one.last_modified)
                for one in islice(objects, LISTED_AT_ONCE)
                if one.object_name is not None and one.last_modified is not None
            ]

    def _holds(self, key: str, size_bytes: int) -> bool:
        try:
            return self.size_bytes(key) == size_bytes
        except KeyMissing:
            return False

    def _client(self, read_s: float, *, reconnects: int, repeats: int | None = None) -> Minio:
        repeats = self._patience.repeats if repeats is None else repeats
        retry = urllib3.Retry(
            total=None,
            connect=reconnects,
            read=repeats,
            status=repeats,
            other=0,
            redirect=0,
            backoff_factor=0.2,
            backoff_max=2,
            status_forcelist=PASSING,
            allowed_methods=None,  # POST too: our multipart steps bear repeating
            raise_on_status=False,  # the last answer says more than "too many"
            raise_on_redirect=False,
            respect_retry_after_header=False,  # MinIO says 120 s while it starts
        )
        timeout = urllib3.Timeout(connect=self._patience.connect_s, read=read_s)
        pool = _Pool(timeout=timeout, retries=retry, maxsize=CONNECTIONS, cert_reqs="CERT_REQUIRED")
        access = self._access
        return Minio(
            self._host,
            access.access_key,
            access.secret_key,
            secure=self._secure,
            region=access.region,  # else the library asks the server, and cannot read every server's answer
            http_client=pool,
        )


def signed_url(bucket: str, key: str, access: S3Access, lasts: timedelta) -> str:
    """A URL that gives the object to whoever has it, for a while (Signature Version 4); nothing is asked of a server.

    Raises ValueError that names what is wrong.
    """
    parts = urlsplit(access.endpoint)
    _check_name(bucket)
    client = Minio(
        parts.netloc,
        access.access_key,
        access.secret_key,
        access.session_token,
        secure=parts.scheme == "https",
        region=access.region,
    )
    return str(client.presigned_get_object(bucket, key, min(lasts, LONGEST_SIGNED)))


def _check_name(bucket: str) -> None:
    """Raises ValueError that says what a bucket may be called: the library's only repeats the name."""
    try:
        check_bucket_name(bucket, strict=True)
    except ValueError as error:
        raise ValueError(
            f"{bucket[:80]!r} cannot be the name of a bucket: it has 3 to 63 characters, small letters, digits, '.' "
            "and '-', and a letter or a digit at both ends."
        ) from error


class _Pool(urllib3.PoolManager):
    """Lets the library read the errors of servers that call their XML `text/xml`, such as rclone's."""

    # The superclass' own way out, as its parent declares other parameters.
    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **kw: object
    ) -> urllib3.BaseHTTPResponse:
        response = super().urlopen(method, url, redirect, **kw)
        if response.headers.get("content-type", "").startswith("text/xml"):
            response.headers["content-type"] = "application/xml"
        return response


NO_BUCKET: Final = "The bucket of the artifact store does not exist: make it, or correct PORTSIDE_ARTIFACTS_URL."


@contextmanager
def mapped_errors() -> Iterator[None]:
    """The one place where foreign errors become ours; addresses stay in the cause, for the log."""
    try:
        yield
    except S3Error as error:
        raise _from_answer(error) from error
    except (ServerError, InvalidResponseError) as error:
        raise StoreUnavailable(f"The S3 server answered with an error: {str(error)[:200]}.") from error
    except (MinioException, ParseError, ValueError) as error:  # ValueError: XML without what must be in it
        raise StoreUnavailable("What answers at PORTSIDE_S3_ENDPOINT does not speak S3; correct it.") from error
    except (HTTPError, OSError) as error:
        raise StoreUnavailable(_why_unreachable(error)) from error


def _from_answer(error: S3Error) -> StoreUnavailable:
    if error.code in FULL or error.response.status == 507:
        return DiskFull("The S3 server of the artifact store is full; free some space, then send it again.")
    if error.code == "NoSuchBucket":
        return StoreUnavailable(NO_BUCKET)
    if error.code in REFUSED:
        return StoreUnavailable(
            "The S3 server refuses us: check PORTSIDE_S3_ACCESS_KEY, PORTSIDE_S3_SECRET_KEY and what they may do."
        )
    if error.code in ELSEWHERE:
        return StoreUnavailable(f"The S3 server answered {error.code}: check PORTSIDE_S3_REGION and _ENDPOINT.")
    if error.code == "RequestTimeTooSkewed":
        return StoreUnavailable("The clocks of this machine and of the S3 server differ too much: set them right.")
    if error.code == "NoSuchUpload":
        return StoreUnavailable("The upload was ended, as one that nobody seemed to write to; send it again.")
    return StoreUnavailable(f"The S3 server answered {error.code}: {error.message or 'no reason given'}")


def _why_unreachable(error: HTTPError | OSError) -> str:
    reason = error.reason if isinstance(error, MaxRetryError) and error.reason is not None else error
    if isinstance(reason, NameResolutionError):
        return "The host of the S3 server is unknown: correct PORTSIDE_S3_ENDPOINT."
    if isinstance(reason, NewConnectionError):  # before its parent, the time-out
        return "Nobody listens at PORTSIDE_S3_ENDPOINT: start the S3 server, or correct the address."
    if isinstance(reason, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        return "The S3 server did not answer in time: look whether it is overloaded or cut off, then send it again."
    if isinstance(reason, SSLError):
        return "The S3 server's certificate is not trusted here: check it, or name its authority in SSL_CERT_FILE."
    return "The connection to the S3 server broke; send it again."
