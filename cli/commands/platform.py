"""Verbs about the platform itself: start it, show it off, ask whether this machine suits it."""

import gc
from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Data folder [PORTSIDE_DATA].", show_default="a folder of your home directory"
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port", min=0, max=65535, help="Port to listen on; 0 takes a free one [PORTSIDE_PORT].", show_default="8000"
    ),
]


def up(
    data: DataOption = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="Address to listen on [PORTSIDE_HOST]. Any other than loopback requires a token, and makes one.",
            show_default="127.0.0.1",
        ),
    ] = None,
    port: PortOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log to stderr instead of DATA/logs/portside.log.")
    ] = False,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start a platform on this machine: API, workers and model servers, in the foreground.

    Nothing needs to be installed or configured before: an empty folder becomes a database and an artifact store.
    What was deployed there before is served again within seconds. Ctrl-C finishes running work and stops; once more
    stops at once.

    Every setting is also an environment variable PORTSIDE_…: see docs/reference/settings.md.
    """
    from cli.address import bind
    from cli.folder import DataFolder
    from cli.settings import read_settings

    settings = read_settings(data, host, port)
    with DataFolder(settings.data) as folder, bind(settings.host, settings.port) as listener:
        gc.disable()  # nothing that an import makes is garbage: looking for some costs a seventh of the start
        from cli.up import run_up  # the servers: a second and more, too long to wait for "the port is in use"

        run_up(settings, folder, listener, verbose=verbose, parent_fd=parent_fd)


HostOption = Annotated[
    str | None,
    typer.Option("--host", help="Address to listen on [PORTSIDE_HOST].", show_default="127.0.0.1"),
]
ParentOption = Annotated[int | None, typer.Option(hidden=True)]


def api(host: HostOption = None, port: PortOption = None, parent_fd: ParentOption = None) -> None:
    """Run one API and gateway process of a platform that is divided into several.

    Needs PORTSIDE_DATABASE_URL (PostgreSQL), PORTSIDE_BROKER_URL (Redis), PORTSIDE_ARTIFACTS_URL (S3) and
    PORTSIDE_SECRET_KEY, the same for all processes; any number of them stand behind one address.
    """
    from cli.address import bind
    from cli.settings import read_settings

    settings = read_settings(None, host, port)
    with bind(settings.host, settings.port) as listener:
        from cli.roles.api import run_api
        from cli.roles.process import run_role

        run_role(settings, lambda running: run_api(running, listener), parent_fd=parent_fd)


def worker(data: DataOption = None, parent_fd: ParentOption = None) -> None:
    """Run one worker of a platform that is divided into several: it does what the API has accepted.

    Any number of them share the work. SIGTERM drains: running work ends within PORTSIDE_DRAIN_S or is handed back.
    """
    from cli.folder import DataFolder
    from cli.roles.process import run_role
    from cli.roles.worker import run_worker
    from cli.settings import read_settings

    settings = read_settings(data)
    with DataFolder(settings.data):
        run_role(settings, run_worker, parent_fd=parent_fd)


def node(data: DataOption = None, parent_fd: ParentOption = None) -> None:
    """Run the node of a platform that is divided into several: it starts and heals the model servers.

    PORTSIDE_NODE_HOST is the name under which the others reach this machine. One node works; a second one stands by.
    """
    from cli.folder import DataFolder
    from cli.roles.node import run_node
    from cli.roles.process import run_role
    from cli.settings import read_settings

    settings = read_settings(data)
    with DataFolder(settings.data):
        run_role(settings, run_node, parent_fd=parent_fd)


def migrate(data: DataOption = None) -> None:
    """Bring the database to this release's schema, and store PORTSIDE_ADMIN_TOKEN while there is no token.

    Run it before the processes of a new release start; those of the release before go on working. Two at once are safe.
    """
    from cli.roles.migrate import run_migrate
    from cli.settings import read_settings

    run_migrate(read_settings(data))


def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write; it must not exist yet.", show_default=False)],
    data: DataOption = None,
) -> None:
    """Back up an embedded platform into one archive, while it runs or not.

    The archive holds the database, the artifacts and the secret key: keep it as safe as the platform itself.
    """
    from cli.backup import back_up
    from cli.settings import read_settings

    back_up(read_settings(data), file)


def restore(
    file: Annotated[Path, typer.Argument(help="An archive that portside backup has written.", show_default=False)],
    data: DataOption = None,
) -> None:
    """Fill an empty data folder from a backup; every digest is checked. Then start it with portside up."""
    from cli.backup import restore as fill
    from cli.settings import read_settings

    fill(read_settings(data), file)


def demo(
    data: DataOption = None,
    port: PortOption = None,
    leave: Annotated[bool, typer.Option("--exit", help="Stop after the main job; the exit status tells.")] = False,
) -> None:
    """Show the whole way: start a platform, deploy an ONNX and a PMML model, predict in every way.

    Each step is one printed line: what happened and how long it took. The platform stays up until Ctrl-C.
    """
    from cli.demo import run_demo

    run_demo(data, port, leave=leave)


def doctor(data: DataOption = None, port: PortOption = None) -> None:
    """Look at this machine and its platform and say what to do: engines, settings, reachability, clocks, disk, orphans.

    Changes nothing; works while the platform runs. Exit status 1 when something must be put right.
    """
    from cli.doctor import examine
    from cli.settings import read_settings

    examine(read_settings(data, None, port))


def reference(
    write: Annotated[bool, typer.Option("--write", help="Write the files.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail where a file is not what the code says.")] = False,
    folder: Annotated[Path, typer.Option("--folder", help="Where they lie.")] = Path("docs/reference"),
) -> None:
    """Print, write or check the reference pages that are made from the code."""
    from cli.reference import check_pages, write_pages

    if check:
        check_pages(folder)
    elif write:
        write_pages(folder)
    else:
        raise typer.BadParameter("say --write or --check")


def print_version(wanted: bool) -> None:
    """`--version`: Portside and its engines, without loading any of them."""
    if not wanted:
        return
    from cli.versions import version_lines

    for line in version_lines():
        typer.echo(line)
    raise typer.Exit
