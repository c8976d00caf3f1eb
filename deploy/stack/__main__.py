"""`python -m deploy.stack`: the production topology on this machine until Ctrl-C (`make stack`).

With `--demo` it then does the main job over the one address, and with `--exit` it ends after that.
"""

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from cli.client import Platform
from cli.demo import show
from cli.failure import CommandFailed
from cli.folder import DataFolder
from cli.tour import Journal
from deploy.stack.child import StackFailed
from deploy.stack.process import ROOT
from deploy.stack.topology import Options, Topology


def main() -> int:
    """Run the stack; the exit status says whether it came up and, with `--demo`, whether all of it worked."""
    arguments = _parser().parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT, too: a script's `&` starts us with it ignored
        signal.signal(number, _interrupt)
    try:
        with DataFolder(arguments.folder) as folder:
            return _run(folder.path, arguments)
    except (StackFailed, CommandFailed) as failed:
        details = getattr(failed, "details", ())
        print("\n".join([f"Error: {failed}", *map(str, details)]), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make stack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / ".stack", help="where its data lies (default .stack)")
    parser.add_argument("--port", type=int, default=8000, help="port of the one address; 0 takes a free one")
    parser.add_argument("--demo", action="store_true", help="then do the main job on it")
    parser.add_argument("--exit", action="store_true", help="stop after the demo, or once everything is ready")
    return parser


def _run(folder: Path, arguments: argparse.Namespace) -> int:
    journal = Journal()
    print("Starting PostgreSQL, Redis, MinIO, 2 API processes, 2 workers, the node and a proxy …", flush=True)
    topology = Topology.start(folder, Options(port=arguments.port or None, prometheus=True))
    try:
        token_file = _keep(folder / "token", topology.token)
        settings = topology.of_role("worker")[0].recipe.settings
        exports = [f"export {name}={shlex.quote(value)}\n" for name, value in settings.items()]
        _keep(folder / "settings", "".join(exports))  # for `portside doctor`
        _show_panel(topology, token_file)
        if arguments.demo:
            journal.line("stack", f"{topology.url} is ready, {len(topology.pids)} processes", journal.began)
            with Platform(topology.url, topology.token) as platform:
                show(platform, journal, token_file)
        if not arguments.exit:
            print("Ctrl-C stops all of it.", flush=True)
            _wait()
    finally:
        print("Stopping: workers finish what is running.", flush=True)
        topology.stop()
        print("Stopped; nothing is left running.", flush=True)
    return 0


def _keep(file: Path, secret: str) -> Path:
    file.touch(mode=0o600)
    file.write_text(secret, "utf-8")
    return file


def _show_panel(topology: Topology, token_file: Path) -> None:
    assert topology.front is not None
    prometheus = topology.prometheus.url if topology.prometheus else "none: `prometheus` is not on PATH"
    rows = {
        "API": f"{topology.url} ({topology.front.kind})",
        "OpenAPI": f"{topology.url}/api/v1/openapi.json",
        "Token": f"in {token_file}",
        "Prometheus": prometheus,
        "Database": topology.postgres.url,
        "Data, logs": f"{topology.folder}, */output.log",
        "Processes": ", ".join(f"{name} {pid}" for name, pid in topology.pids.items()),
    }
    print()
    for name, value in rows.items():
        print(f"  {name:<12}{value}")
    print(f"\n  export PORTSIDE_API={topology.url} PORTSIDE_TOKEN=$(cat {token_file})")
    print("  .venv/bin/portside deploy examples/iris.onnx")
    print(f"  (. {topology.folder}/settings; .venv/bin/portside doctor)\n", flush=True)


def _wait() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print(flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Either signal ends the stack as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
