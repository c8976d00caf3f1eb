"""The two pipes between the node and the process of a run: its reports, our acknowledgements.

A descriptor is closed once and by its owner only: its number is another file's a moment later.
"""

import json
import os
from dataclasses import replace

from workers.lines import LineReader
from workers.node.processes import Program
from workers.node.runreports import BrokenReport

LONGEST_LINE = 16 * 1024 * 1024  # a report of ten thousand columns has a megabyte


class RunPipes:
    """Both pipes from their making to the end of the process. A context manager; raises `OSError` where none can be."""

    def __init__(self) -> None:
        mine, told = os.pipe()
        self._theirs, self._acks = [told], -1
        self.reports = LineReader(mine, LONGEST_LINE)
        try:
            heard, self._acks = os.pipe()
        except OSError:
            self.__exit__()
            raise
        os.set_blocking(self._acks, False)
        self._theirs.append(heard)

    def __enter__(self) -> "RunPipes":
        return self

    def __exit__(self, *error: object) -> None:
        """Who reads or acknowledges has ended before."""
        self.close_theirs()
        acks, self._acks = self._acks, -1
        if acks >= 0:
            os.close(acks)  # who still lives sees that nobody hears it
        self.reports.close()

    def given_to(self, program: Program) -> Program:
        """The program with its ends of the pipes."""
        told, heard = self._theirs
        words = ["--report-fd", str(told), "--ack-fd", str(heard)]
        return replace(program, command=[*program.command, *words], fds=(told, heard))

    def close_theirs(self) -> None:
        """Our copies of the process' ends: the reports end when the process does."""
        while self._theirs:
            os.close(self._theirs.pop())

    def acknowledge(self, chunk: int) -> None:
        """Tell the process that a chunk is kept. One that has ended need not know.

        Raises `BrokenReport` for one that reports thousands of chunks and never listens.
        """
        if self._acks >= 0:
            try:
                os.write(self._acks, json.dumps({"chunk": chunk}).encode() + b"\n")
            except BrokenPipeError:
                return
            except BlockingIOError as error:
                raise BrokenReport("the run's process does not read what is acknowledged") from error
