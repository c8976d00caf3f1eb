"""`python -m tests.serving.native.campaign`: requests by chance for as long as wanted, against both ways (`make fuzz`).

With `--sanitized` the library is built with the compiler's checks of memory and undefined behaviour, which end the
process at the first fault; they must be loaded before anything else, hence in a process of its own.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from serving.native.building import CannotBuild, build
from serving.native.library import Library
from serving.native.records import RecordReader
from serving.native.way import QuickWay
from tests.e2e.environments import ROOT
from tests.serving.native import tree_models
from tests.serving.native.both_ways import echo_model, serve
from tests.serving.native.compilers import built_folder, built_library, some_compiler
from tests.serving.native.record_bodies import IMAGE, MIXED, compare, scorer_of
from tests.serving.native.requests import Chance

EXAMPLES = ("iris", "diabetes", "wine-clusters", "breast-cancer-anomaly", "digits-image", "digits-pca")
AT_ONCE = 200
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def main(words: Sequence[str]) -> int:
    """Run and print what was tried. Exit status 1 where the answers differ or memory was misused."""
    parser = argparse.ArgumentParser("tests.serving.native.campaign", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--sanitized", action="store_true")
    parser.add_argument("--echo-only", action="store_true", help="of the models only those that need no loading")
    parser.add_argument("--library", type=Path, help="the library, instead of one that is built now")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="portside-native-") as folder:
        if options.sanitized:
            return sanitized([word for word in words if word != "--sanitized"])
        library = options.library or built_library()
        models = [] if options.echo_only else [ROOT / "examples" / f"{name}.onnx" for name in EXAMPLES]
        models += [echo_model(Path(folder) / f"echo-{width}.onnx", width=width) for width in (None, 1, 3)]
        return asyncio.run(campaign(library, models, Path(folder), options.seconds, options.seed))


async def campaign(library: Path, models: Sequence[Path], folder: Path, seconds: float, seed: int) -> int:
    """Ask one model after the other, until time is over. `folder` is for those that are made meanwhile."""
    both = [serve(model, QuickWay(Library(library))) for model in models]
    asked = answered = 0
    records = [(RecordReader(Library(library), fields), scorer_of(fields)) for fields in (IMAGE, MIXED)]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for reader, scorer in records:
            compare(reader, scorer, seed)
        tree_models.compare(folder, Library(library), seed)
        for each in both:
            chance = Chance(each.scorer.signature, seed)
            for _ in range(AT_ONCE):
                answered += await each.compare(chance.request())
            asked += AT_ONCE
        seed += 1
    print(f"{asked} requests, up to seed {seed}: {answered} answered by both ways, alike", flush=True)
    return 0 if answered else 1


def sanitized(words: Sequence[str]) -> int:
    """The same with checks, where the machine's compiler has them; without them that is said."""
    command = some_compiler()
    try:
        library = build(built_folder(), command, SANITIZERS)
        # The second is there for others in the process, who throw.
        preloaded = [_runtime(command, name) for name in ("libasan.so", "libstdc++.so.6")]
    except (CannotBuild, OSError, subprocess.CalledProcessError) as error:
        print(f"this compiler checks no memory: {error}")
        return 0
    environment = {
        **os.environ,
        "LD_PRELOAD": ":".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",  # Python itself leaks at its end
        "PYTHONPATH": str(ROOT),
        "PYTHONMALLOC": "malloc",  # so that a byte beyond a request is seen
    }
    command = [sys.executable, "-m", "tests.serving.native.campaign", *words, "--library", str(library)]
    return subprocess.run(command, env=environment, check=False).returncode


def _runtime(command: Sequence[str], name: str) -> str:
    asked = [*command, f"-print-file-name={name}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
