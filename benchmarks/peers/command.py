"""`python -m benchmarks peers`: start all peers, measure the plan, print tables, and write the page."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from json import loads
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.peers import others, ours
from benchmarks.peers.contenders import Contender, Served, bare
from benchmarks.peers.load import Generator, find_generator
from benchmarks.peers.plan import WORKLOADS, Workload
from benchmarks.peers.report import as_figures, page, print_cells
from benchmarks.peers.rounds import run
from benchmarks.peers.server import Place, Starter, locked_version
from benchmarks.peers.soak import soak
from benchmarks.platform import EXAMPLES, ROOT, Broken

PAGE = ROOT / "docs" / "benchmarks.md"
SECONDS, ROUNDS = 1.5, 3
SERVERS: Mapping[str, Starter] = {
    "replica": ours.replica,
    "grpc": ours.grpc_replica,
    "arrow": ours.arrow_replica,
    "batched": ours.batched,
    "unbatched": ours.unbatched,
    "gateway": ours.gateway,
    "empty": ours.empty,
    "mlserver": others.mlserver,
    "triton": others.triton,
    "litserve": others.litserve,
    "bentoml": others.bentoml,
    "fastapi": others.fastapi_route,
}
ENGINES = {
    "engine-forest": ("forest", f"ONNX Runtime {locked_version('tests', 'onnxruntime')}"),
    "engine-row": ("pmml-row", f"pypmml {locked_version('tests', 'pypmml')}"),
    "engine-rows": ("pmml-rows", f"pypmml {locked_version('tests', 'pypmml')}"),
}


def measure(words: Sequence[str] = ()) -> list[Figure]:
    """The bars. A run of everything, at its full length, writes the page. Raises `Broken` where nothing can be run."""
    options = _parser().parse_args(words)
    workloads = chosen(options.only or list(WORKLOADS))
    with tempfile.TemporaryDirectory(prefix="portside-peers-") as folder, ExitStack() as ending:
        place, generator = _place(Path(folder)), find_generator()
        contenders, failures = _start(workloads, place, generator, ending)
        results = run(workloads, contenders, options.rounds, options.seconds, failures)
        print_cells(results, workloads, contenders)
        figures = as_figures(results, [workload.name for workload in workloads], contenders)
        if not options.only and "replica" in contenders and options.seconds >= SECONDS:
            figures.append(soak(contenders["replica"]))
        is_whole = not options.only and options.seconds >= SECONDS and options.rounds >= ROUNDS
        if target := options.write or (PAGE if is_whole else None):
            facts = {"rounds": options.rounds, "seconds": options.seconds, "generator": generator.version}
            runtime = locked_version("tests", "onnxruntime")
            target.write_text(page(results, workloads, contenders, figures, **facts, runtime=runtime), "utf-8")
            print(f"\n{target.name} is written.")
    return figures


def chosen(names: Sequence[str]) -> list[Workload]:
    """The workloads of these names, and those whose greatest rates they need."""
    wanted = {WORKLOADS[name].ask for name in names if WORKLOADS[name].share} | set(names)
    return [workload for name, workload in WORKLOADS.items() if name in wanted]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks peers", description="Measure ours beside other servers.")
    parser.add_argument("--only", type=_names, metavar="NAME,…", help=", ".join(WORKLOADS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each cell in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help=f"the page (default: docs/{PAGE.name}, of a whole run)"
    )
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in WORKLOADS]:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}; choose from {', '.join(WORKLOADS)}")
    return names


def _place(folder: Path) -> Place:
    """The models, and two cores. Raises `Broken`."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise Broken("a server and the load on it need a core each; there is one")
    models, scratch = folder / "models", folder / "scratch"
    models.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-m", "benchmarks.peers.models", str(EXAMPLES), str(models)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"the models cannot be made: {done.stderr.strip()[-300:]}")
    return Place(models, scratch, cores[0], cores[1])


def _start(
    workloads: Sequence[Workload], place: Place, generator: Generator, ending: ExitStack
) -> tuple[dict[str, Contender], dict[str, str]]:
    """All that take part, and why some do not."""
    contenders: dict[str, Contender] = {}
    failures: dict[str, str] = {}
    expected = loads((place.models / "expected.json").read_text("utf-8"))
    for peer in dict.fromkeys(peer for workload in workloads for peer in workload.peers):
        try:
            contenders[peer] = _contender(peer, place, generator, expected, ending)
        except (Broken, OSError, subprocess.SubprocessError) as error:
            failures[peer] = str(error)
        print(f"{peer}: {failures.get(peer, 'answers')}", flush=True)
    return contenders, failures


def _contender(
    peer: str, place: Place, generator: Generator, expected: Mapping[str, Sequence[float]], ending: ExitStack
) -> Contender:
    if peer in ENGINES:
        return ending.enter_context(bare(place, *ENGINES[peer]))
    server = ending.enter_context(SERVERS[peer](place))
    return Served(server, generator, place, expected)
