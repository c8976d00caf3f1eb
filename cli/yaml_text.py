"""YAML, written for whoever asks for it."""

import yaml


def to_yaml(document: object) -> str:
    """The document as YAML, its fields in their order."""
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120).rstrip("\n")
