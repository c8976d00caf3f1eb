"""Names for the places of a graph's vector inputs, where its author wrote them into the file's metadata."""

from typing import Final

import msgspec

from serving.engines.base import InvalidModel
from serving.features import UnfitFeatures, with_names
from serving.signature import Signature

FEATURES_KEY: Final = "portside.features"


def with_features(signature: Signature, written: str | None) -> Signature:
    """The signature with the names that the metadata key `portside.features` gives: a JSON object of lists by input.

    `written` is its whole text, which the signature's own metadata cuts where it is long.

    Raises `InvalidModel` for a bad key.
    """
    if written is None:
        return signature
    try:
        return with_names(signature, msgspec.json.decode(written, type=dict[str, tuple[str, ...]]))
    except (msgspec.DecodeError, UnfitFeatures) as error:
        message = f"the metadata key {FEATURES_KEY!r} does not name the places of an input: {error}"
        hint = 'Correct the key in metadata_props: {"float_input": ["age", "height"]}.'
        raise InvalidModel("onnx_invalid_metadata", message, hint) from error
