"""Bodies of every kind for tests, and their way through one prediction."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.answering import predict
from serving.messages import Response
from serving.problems import Problem
from serving.score import Scorer


def send(
    scorer: Scorer, body: str | bytes, content_type: str = "text/csv", accept: str = "*/*", *, keeps_going: bool = False
) -> Response:
    data = body.encode() if isinstance(body, str) else body
    headers = {b"content-type": content_type.encode(), b"accept": accept.encode()}
    return predict(scorer, data, headers, keeps_going=keeps_going)


def text(response: Response) -> str:
    assert response.content_type.startswith("text/csv")
    return response.body.decode()


def refused(scorer: Scorer, body: str | bytes, content_type: str = "text/csv") -> Problem:
    with pytest.raises(Problem) as caught:
        send(scorer, body, content_type)
    return caught.value


def form(*parts: tuple[str, str, bytes], boundary: str = "XX") -> tuple[bytes, str]:
    """Parts of a name, what follows it in the head, and bytes."""
    pieces = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"
        for name, more, data in parts
    ]
    return b"".join(pieces) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def npy(array: NDArray[np.generic]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()
