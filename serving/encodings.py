"""Content codings of HTTP (RFC 9110, 8.4): bodies that come compressed, and answers that may go so.

A body is inflated little by little, and no further than the server's limit: a bomb costs that much and a refusal.
"""

import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from serving.crew import overloaded
from serving.messages import Request, Response
from serving.problems import Problem, shorten
from serving.room import Budget

READ = "gzip, deflate"
ALIASES = {"x-gzip": "gzip"}
MOST_CODINGS = 3  # one upon the other, in one body
MOST_MEMBERS = 4_096  # of a gzip file; each may inflate to nothing, and costs its share of looking
SMALLEST_BYTES = 1_400  # less fits into one packet, however well it is compressed
LEVEL = 1  # of nine; 80 MB/s of JSON, and two thirds of what the others save
_PIECE_BYTES = 64 * 1024
_PROBE_BYTES = 16 * 1024
_PAYS = 0.85  # what a probe must come down to: floating numbers as bytes hardly do
Take = Callable[[int], bool]  # so many bytes more of the room for bodies, if they are there
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def is_coded(request: Request) -> bool:
    """Whether its body is coded, or the answer to it may be."""
    return b"accept-encoding" in request.headers or b"content-encoding" in request.headers


def weight(request: Request) -> int:
    """The size of a body as far as it is known: one that is to be inflated belongs to no loop."""
    return sys.maxsize if b"content-encoding" in request.headers else len(request.body)


def answered(handler: Callable[[Request], Response], request: Request, max_bytes: int, budget: Budget) -> Response:
    """What the handler answers to a body of any coding that is read here, in one that the client accepts."""
    headers = request.headers
    if b"content-encoding" in headers:
        with budget.share() as take:
            response = handler(decoded(request, max_bytes, take))
    else:
        response = handler(request)
    return suited(response, request)


def suited(response: Response, request: Request) -> Response:
    """The response in a coding that its request accepts, where that pays."""
    accept = request.headers.get(b"accept-encoding")
    return response if accept is None else encoded(response, accept)


def _always(more_bytes: int) -> bool:
    return True


def decoded(request: Request, max_bytes: int, take: Take = _always) -> Request:
    """The request with its body as it was before it was coded. Raises `Problem` 400, 413, 415, 503."""
    codings = _codings(request.headers.get(b"content-encoding", b""))
    if not codings:
        return request
    body = request.body
    for coding in reversed(codings):
        body = inflated(body, coding, max_bytes, take)
    headers = {name: value for name, value in request.headers.items() if name != b"content-encoding"}
    return replace(request, headers=headers, body=body)


def encoded(response: Response, accept: bytes) -> Response:
    """The response in the coding that its client likes best, where that pays; errors stay readable for all clients."""
    if len(response.body) < SMALLEST_BYTES or response.status != 200:
        return response
    others = response.headers.get("vary")
    vary = {**response.headers, "vary": f"{others}, accept-encoding" if others else "accept-encoding"}
    coding = preferred(accept)
    body = None if coding is None else _deflated(response.body, _GZIP if coding == "gzip" else _ZLIB)
    if coding is None or body is None:
        return replace(response, headers=vary)
    return replace(response, body=body, headers={**vary, "content-encoding": coding})


def inflated(body: bytes, coding: str, max_bytes: int, take: Take = _always) -> bytes:
    """A body without its coding, `gzip` or `deflate`. Raises `Problem` 400 for no such body, 413 for a larger one,
    503 where `take` says that there is no room for what it grows to."""
    try:
        pieces: list[bytes] = []
        for piece in _inflate(memoryview(body), _window(body, coding), max_bytes):
            if not take(len(piece)):
                raise overloaded("there is no room for what this body is inflated to")
            pieces.append(piece)
    except zlib.error as error:
        raise _malformed(coding, str(error).rpartition(": ")[2]) from error
    except EOFError as error:
        raise _malformed(coding, str(error)) from error
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def preferred(accept: bytes) -> str | None:
    """The coding that an Accept-Encoding header likes best of ours (RFC 9110, 12.5.3); `None` for none."""
    wishes: dict[str, float] = {}
    for part in accept.decode("latin-1").lower().split(",", 100)[:100]:
        name, *options = (piece.strip() for piece in part.split(";"))
        wishes[ALIASES.get(name, name)] = min(map(_quality, options), default=1.0)
    others = wishes.get("*", 0.0)
    best = max(("gzip", "deflate"), key=lambda coding: wishes.get(coding, others))
    quality = wishes.get(best, others)
    return best if quality > 0 and quality >= wishes.get("identity", 0.0) else None


def _codings(header: bytes) -> list[str]:
    given = [name.strip() for name in header.decode("latin-1").lower().split(",", 10)]
    codings = [ALIASES.get(name, name) for name in given if name not in ("", "identity")]
    unread = next((name for name in codings if name not in ("gzip", "deflate")), None)
    if unread is not None or len(codings) > MOST_CODINGS:
        shown = shorten(unread or ", ".join(codings))
        detail = f"the content encoding {shown} is not read here"
        hint = "send it plain, or as gzip or deflate"
        raise Problem(415, "unsupported_media_type", detail, hint=hint, headers={"accept-encoding": READ})
    return codings


def _window(body: bytes, coding: str) -> int:
    """zlib's word for a format. What HTTP calls deflate is in the zlib format, and some clients send it without."""
    if coding == "gzip":
        return _GZIP
    is_zlib = len(body) >= 2 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0
    return _ZLIB if is_zlib else _RAW


def _inflate(body: memoryview, window: int, max_bytes: int) -> Iterator[bytes]:
    """The inflated pieces. Raises `zlib.error`, `EOFError` where it does not end with the body, `Problem` 413."""
    inflater, members, left = zlib.decompressobj(window), 1, max_bytes
    for at in range(0, len(body), _PIECE_BYTES):
        rest: bytes | memoryview = body[at : at + _PIECE_BYTES]
        while len(rest):
            if inflater.eof:
                members += 1
                if window != _GZIP or members > MOST_MEMBERS:
                    raise EOFError("there are bytes behind its end")
                inflater = zlib.decompressobj(window)
            piece = inflater.decompress(rest, left + 1)
            left -= len(piece)
            if left < 0:
                detail = f"the body is larger than the {max_bytes} bytes allowed here, once it is inflated"
                raise Problem(413, "too_large", detail, hint="send fewer records at a time")
            yield piece
            rest = inflater.unconsumed_tail or inflater.unused_data
    if not inflater.eof:
        raise EOFError("it ends too early")


def _quality(option: str) -> float:
    name, _, value = option.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _deflated(body: bytes, window: int) -> bytes | None:
    """The body in zlib's format of this name, unless its beginning shows that it does not pay."""
    deflater, whole = zlib.compressobj(LEVEL, zlib.DEFLATED, window), memoryview(body)
    probe = whole[:_PROBE_BYTES]
    begun = deflater.compress(probe) + deflater.flush(zlib.Z_SYNC_FLUSH)
    if len(begun) > _PAYS * len(probe):
        return None
    return b"".join((begun, deflater.compress(whole[_PROBE_BYTES:]), deflater.flush()))


def _malformed(coding: str, why: str) -> Problem:
    return Problem(400, "malformed_body", f"the body is not {coding} as its content encoding says: {why}")
