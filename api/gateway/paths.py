"""Which paths are a service's, in which protocol, and what its replica is asked.

What KServe and the Open Inference Protocol call a model is a service here; a part of one is a version there.
"""

import re
from dataclasses import dataclass
from typing import Final

READING: Final = ("GET", "HEAD", "OPTIONS")  # the server drops the body of an answer to HEAD
PREDICTING: Final = ("POST", "OPTIONS")
SETTING: Final = ("GET", "HEAD", "POST", "OPTIONS")

PREDICT: Final = re.compile(r"/api/v1/services/([^/]+)(?:/parts/[^/]+)?/predict/?")
V1_MODEL: Final = re.compile(r"/v1/models/([^/:]+)(:predict)?/?")
V2_MODEL: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?(/ready|/infer|/stats|/config|/trace/setting)?/?")
# A service may be called `stats`, but nobody's is asked for `/v2/models/stats` where there is none of this name.
ALL_STATS: Final = re.compile(r"/v2/models/stats/?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of one service: `methods` begins with the one that the replica is asked by.

    `is_terse` says that the protocol tells an error as `{"error": …}`.
    """

    service: str
    methods: tuple[str, ...]
    is_terse: bool

    @property
    def is_prediction(self) -> bool:
        """Whether the model is to answer, and not the server about it."""
        return self.methods is PREDICTING

    def method_for(self, method: str) -> bytes:
        """The method by which the replica is asked."""
        return b"POST" if method == "POST" else self.methods[0].encode()


def asked_of(path: str) -> Asked | None:
    """What a decoded path asks of a service; None where it is none of a service's."""
    if (found := PREDICT.fullmatch(path)) is not None:
        return Asked(found[1], PREDICTING, is_terse=False)
    if (found := V2_MODEL.fullmatch(path)) is not None:
        what = found[2]
        methods = PREDICTING if what == "/infer" else SETTING if what == "/trace/setting" else READING
        return Asked(found[1], methods, is_terse=True)
    if (found := V1_MODEL.fullmatch(path)) is not None:
        return Asked(found[1], PREDICTING if found[2] else READING, is_terse=True)
    return None


def is_of_a_protocol(path: str) -> bool:
    """Whether a path belongs to an inference protocol, be there anything or not."""
    return path.startswith(("/v2/", "/v1/models/")) or path in ("/v2", "/v1/models")
