"""How a verb prints its data; on its own, so that `--help` loads nothing else."""

from enum import StrEnum


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"
