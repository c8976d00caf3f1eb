"""Ports for the programs of a stack."""

import subprocess
import sys
from contextlib import ExitStack

from deploy.stack.child import PORTS
from deploy.stack.process import ROOT

# A process that is given ports in four threads, tells them, and keeps them until nobody listens to it any more.
ASKING = """
import sys
from concurrent.futures import ThreadPoolExecutor
from deploy.stack.child import free_port
with ThreadPoolExecutor(4) as pool:
    print(*pool.map(lambda _: free_port(), range(300)), flush=True)
sys.stdin.read()
"""


def test_no_port_is_given_twice_while_whoever_got_it_may_not_listen_yet() -> None:
    with ExitStack() as ending:
        asking = [ending.enter_context(_asking()) for _ in range(2)]
        given = [int(port) for each in asking if each.stdout for port in each.stdout.readline().split()]
    assert len(set(given)) == len(given) == 600, "by chance some ten would be given again"
    assert set(given) <= set(range(*PORTS))


def _asking() -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", ASKING]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
