"""YAML, written for whoever asks for it, and read where a file says what is wanted."""

import yaml


def read_yaml(text: str) -> object:
    """What the text says. Raises ValueError for what is no YAML."""
    try:
        found: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return found


def to_yaml(document: object) -> str:
    """The document as YAML, its fields in their order."""
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120).rstrip("\n")
