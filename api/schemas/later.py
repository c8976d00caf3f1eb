"""Fields that the contract has and this build does not: refused by name, so that nothing is accepted and ignored."""

from typing import Annotated

from pydantic import BeforeValidator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError


def _refuse(given: object) -> None:
    raise PydanticCustomError("not_supported_yet", "this field is not supported yet; leave it out")


# A default is never validated: only a field that is given, null included, is refused.
Later = SkipJsonSchema[Annotated[None, BeforeValidator(_refuse)]]
