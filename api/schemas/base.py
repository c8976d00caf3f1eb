"""What request bodies share: unknown fields refused, no silent conversion, the rule for names."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

NAME = re.compile(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?")


def check_name(text: str) -> str:
    """A resource's name as API.md section 1 has it; raises a validation error that says the rule."""
    if NAME.fullmatch(text) is None:
        raise PydanticCustomError(
            "name",
            "a name is 1 to 48 characters: lower-case letters, digits and '-', a letter first and no '-' at the end",
        )
    return text


def check_tags(tags: list[str]) -> list[str]:
    """Tags: at most 50, each 1 to 80 characters."""
    if len(tags) > 50 or any(not 1 <= len(tag) <= 80 for tag in tags):
        raise PydanticCustomError("tags", "at most 50 tags of 1 to 80 characters each")
    return list(dict.fromkeys(tags))


Name = Annotated[str, AfterValidator(check_name)]
DisplayName = Annotated[str, Field(max_length=200)]
Description = Annotated[str, Field(max_length=10_000)]
Tags = Annotated[list[str], AfterValidator(check_tags)]


class Body(BaseModel):
    """A request body. For PATCH, `model_fields_set` tells an explicit null from an absent field (RFC 7396)."""

    model_config = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="null")
