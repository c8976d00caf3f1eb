"""The settings of one run: the environment, and what the command line says on top."""

from pathlib import Path

from pydantic import ValidationError

from cli.failure import CommandFailed, Exit
from core.failpoints import arm
from core.settings import Settings


def read_settings(data: Path | None = None, host: str | None = None, port: int | None = None) -> Settings:
    """The settings from the environment, with what the command line says on top. Raises `CommandFailed`."""
    given = {"data": data, "host": host, "port": port}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # the names are the settings' own
    except ValidationError as error:
        details = [
            f"PORTSIDE_{'_'.join(map(str, wrong['loc'])).upper()}={wrong['input']}: {wrong['msg']}"
            for wrong in error.errors()
        ]
        raise CommandFailed(
            "A setting has a value that it cannot have.", details=details, exit_status=Exit.USAGE
        ) from error
    try:
        arm(settings.failpoints, settings.failpoints_log)
    except ValueError as error:
        raise CommandFailed(f"PORTSIDE_FAILPOINTS: {error}", exit_status=Exit.USAGE) from error
    return settings
