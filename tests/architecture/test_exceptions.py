"""Only the places whose work is to outlive any bug catch everything."""

import ast

from tests.architecture.conftest import SmallTree
from tests.architecture.tree import Finding, Tree, report

EDGES = (
    "workers/executor.py",  # a handler's bug is a failed attempt
    "workers/recorder.py",  # one outcome that cannot be written is no reason for the others of its transaction
    "workers/rescuer.py",  # likewise one row that cannot be rescued: it must not hold up the rows behind it
    "workers/scheduler.py",  # nor may one job's ticks hold up those of the others
    "workers/caretakers.py",  # the loop around every caretaker: one bad look must not end it
    "workers/relay.py",  # a wake-up that cannot be sent is sent again later
    "workers/node/supervisor.py",  # one replica's trouble must not stop the others
    "workers/node/looks.py",  # a look that fails is followed by another
    "workers/node/runs.py",  # nor that of one run
    "workers/node/node.py",  # without its loops nothing would be healed any more
    "api/gateway/table.py",  # predictions are routed by the last table until the next can be read
    "api/auth.py",  # without the loop a revoked token would be good for ever
    "state/processes.py",  # a process that fell silent for good would be taken for dead
    "api/feed.py",  # without the loop every stream of events would fall silent
    "api/switchboard.py",  # without the loop a switch that is on again would stay off for ever
    "state/sampling.py",  # without the loop every service would seem to rest
    "api/edge.py",  # a bug is a 500 with nothing leaked
    "serving/score.py",  # an engine may raise anything; the user's model is at fault, not the server
    "serving/edge.py",  # a bug is a 500 with nothing leaked
    "serving/crew.py",  # a thread answers many requests, whatever one of them raises
    "serving/express.py",  # likewise
    "serving/runner.py",  # likewise a thread of the batcher
    "cli/main.py",  # a bug is one sentence and a log file
)
EVERYTHING = {"Exception", "BaseException"}


def broad_handlers(tree: Tree) -> list[Finding]:
    return [
        source.finding(node, "catches everything: name the errors, or map them at their door")
        for source in tree.product
        if not source.is_any_of(EDGES)
        for node in ast.walk(source.syntax)
        if isinstance(node, ast.ExceptHandler) and (node.type is None or _names(node.type) & EVERYTHING)
    ]


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def test_nothing_inside_the_edges_catches_everything(repository: Tree) -> None:
    assert not (found := broad_handlers(repository)), report(found)


def test_each_way_of_catching_everything_is_found(small_tree: SmallTree) -> None:
    lines = ("except Exception:", "except (OSError, Exception):", "except BaseException as error:", "except:")
    code = "".join(f"try:\n    x = 1\n{line}\n    raise\n" for line in lines)
    named = "try:\n    x = 1\nexcept OSError:\n    raise\n"
    tree = small_tree({"api/routes.py": code, "workers/executor.py": code, "state/database.py": named})
    assert [(found.path, found.line) for found in broad_handlers(tree)] == [
        ("api/routes.py", line) for line in (3, 7, 11, 15)
    ]
