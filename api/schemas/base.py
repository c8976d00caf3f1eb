"""What request bodies share: unknown fields refused, no silent conversion, the rule for names."""

import re
from itertools import islice
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

TAGS = "at most 50 tags of 1 to 80 characters each"
# How many unknown fields are told; each costs pydantic more than its bytes.
MOST_UNKNOWN = 20
URL = "^https?://"
NAME = re.compile(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?")


def check_name(text: str) -> str:
    """A resource's name as API.md section 1 has it; raises a validation error that says the rule."""
    if NAME.fullmatch(text) is None:
        raise PydanticCustomError(
            "name",
            "a name is 1 to 48 characters: lower-case letters, digits and '-', a letter first and no '-' at the end",
        )
    return text


def at_most(count: int, sentence: str) -> BeforeValidator:
    """Refuses a long list or object before its members are looked at: pydantic keeps an error for each wrong one."""

    def check(given: object) -> object:
        if isinstance(given, list | dict) and len(given) > count:
            raise PydanticCustomError("too_many", "{sentence}", {"sentence": sentence})
        return given

    return BeforeValidator(check)


def check_tags(tags: list[str]) -> list[str]:
    """Tags: at most 50, each 1 to 80 characters."""
    if any(not 1 <= len(tag) <= 80 for tag in tags):
        raise PydanticCustomError("tags", TAGS)
    return list(dict.fromkeys(tags))


def told(**keywords: JsonValue) -> FieldInfo:
    """What the API's description says of a value, where a validator of ours holds it to that with words of its own."""
    extra: JsonDict = {**keywords}
    return cast(FieldInfo, Field(json_schema_extra=extra))


def one_of(*words: str) -> str:
    """The pattern that takes these words alone: of an `enum` generators of clients make a class with odd names."""
    return f"^({'|'.join(map(re.escape, words))})$"


def shown_as(*examples: JsonDict) -> ConfigDict:
    """The `model_config` of a body whose examples the API's description tells."""
    return ConfigDict(json_schema_extra={"examples": [*examples]})


Name = Annotated[str, AfterValidator(check_name), told(pattern=f"^{NAME.pattern}$")]
# RFC 3339, in UTC
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
DisplayName = Annotated[str, Field(max_length=200)]
Description = Annotated[str, Field(max_length=10_000)]
Tags = Annotated[
    list[Annotated[str, told(minLength=1, maxLength=80)]],
    at_most(50, TAGS),
    AfterValidator(check_tags),
    told(maxItems=50),
]


class Answer(BaseModel):
    """What a route answers with. Only the API's description reads it: the documents themselves are plain.

    Pydantic builds one when it is first needed: to build all takes a sixth of a platform's start.
    """

    model_config = ConfigDict(defer_build=True)


class Body(BaseModel):
    """A request body. For PATCH, `model_fields_set` tells an explicit null from an absent field (RFC 7396).

    It is built when a request first has one, too: a few milliseconds of that request.
    """

    model_config = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="null")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_most_of_the_unknown(cls, given: Any) -> Any:
        if not isinstance(given, dict) or len(given) <= len(cls.model_fields) + MOST_UNKNOWN:
            return given
        known = {name: value for name, value in given.items() if name in cls.model_fields}
        return known | dict(islice(((n, v) for n, v in given.items() if n not in known), MOST_UNKNOWN))
