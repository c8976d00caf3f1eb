"""A tiny program in the batch scorer's place: the contract of `serving batch` over CSV, and ends as its variables say.

Standard library only and little of it, so that it starts in some 30 ms. A row is `id,x`; its score is twice x, an x
that is no number is a bad row. PAUSE_MS is how long a chunk takes, BUSY_MS how much processor time; while the file HOLD
exists, it begins no chunk beyond the first HOLD_AT. MODE: crash (after its first chunk), die (before any), stubborn,
hungry, refuse, fickle (another output each time), deaf (says nothing), left (leaves a child behind), escaped (the same,
in a session of its own and with our pipes, then it crashes once). LIE is what it reports instead of anything, after a
named pipe, a link and a folder lie beside its output.
"""

import json
import os
import signal
import sys
import threading
import time

MODE = os.environ.get("MODE", "")
PAUSE_S = float(os.environ.get("PAUSE_MS", "0")) / 1000
BUSY_S = float(os.environ.get("BUSY_MS", "0")) / 1000
HOLD, HOLD_AT, HOLD_LOOK_S = os.environ.get("HOLD", ""), int(os.environ.get("HOLD_AT", "0")), 0.005
STOPPING = threading.Event()
UNKEPT = threading.Semaphore(4)
KEPT: "set[int]" = set()
HEARD = threading.Condition()


def end_with_parent(fd: int) -> None:
    """What the real one does too."""
    while os.read(fd, 512):
        pass
    os._exit(0)


def hear(fd: int) -> None:
    """Each acknowledgement makes room for a chunk."""
    rest = b""
    while data := os.read(fd, 4096):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            with HEARD:
                KEPT.add(json.loads(line)["chunk"])
                HEARD.notify_all()
            UNKEPT.release()
    os._exit(0)


def scored(line: bytes, number: int) -> "tuple[bytes, dict[str, object] | None]":
    """The output row, or what is wrong with the input row."""
    name, _, x = line.decode().partition(",")
    try:
        return f"{name},{2 * float(x):g}\n".encode(), None
    except ValueError:
        where = {"row": number, "line": number + 2, "column": "x"}
        return b"", {**where, "reason": f"{x!r} is no number", "text": line.decode()}


class Run:
    """One process."""

    def __init__(self, given: "dict[str, str]") -> None:
        with open(given["--plan"], "rb") as file:  # noqa: PTH123 (pathlib costs 15 ms)
            self.plan = json.load(file)
        self.output, self.report_fd = given["--output"], int(given["--report-fd"])
        self.chunk_rows = self.plan["chunk_rows"] or 100
        resume = self.plan["resume"] or {"position": None, "rows_in": 0, "rows_out": 0, "bad": 0, "chunks": 0}
        self.at = resume["position"] or {"chunk": 0, "row": 0, "file": 0, "offset": 0, "line": 1}
        self.sums = {name: resume[name] for name in ("rows_in", "rows_out", "bad", "chunks")}
        self.mine = 0  # chunks

    def tell(self, kind: str, **told: object) -> None:
        """One report."""
        os.write(self.report_fd, json.dumps({"type": kind, **told}).encode() + b"\n")

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all."""
        path = f"{self.output}/{name}"
        with open(path + ".part", "wb") as file:  # noqa: PTH123 (likewise)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".part", path)  # noqa: PTH104 (likewise)

    def lines(self) -> "tuple[list[bytes], dict[str, int]]":
        """The rows of the next chunk, and where the one behind it begins."""
        with open(self.plan["input"]["files"][0], "rb") as file:  # noqa: PTH123 (likewise)
            if self.at["offset"] == 0:
                file.readline()
            else:
                file.seek(self.at["offset"])
            found = [line.rstrip(b"\n") for _, line in zip(range(self.chunk_rows), file, strict=False)]
            row = self.at["row"] + len(found)
            # `tell` knows nothing while a file is iterated: count what was read.
            start = self.at["offset"] or len(b"id,x\n")
            offset = start + sum(len(line) + 1 for line in found)
        return found, {"chunk": self.at["chunk"] + 1, "row": row, "file": 0, "offset": offset, "line": row + 2}

    def chunk(self, lines: "list[bytes]", after: "dict[str, int]") -> None:
        """Score, write and report one."""
        ordinal, first_row = self.at["chunk"], self.at["row"]
        rows = [scored(line, first_row + index) for index, line in enumerate(lines)]
        bad = [problem for _, problem in rows if problem is not None]
        name = f"chunk-{ordinal:08}"
        header = b"id,score\n" if ordinal == 0 else b""
        salt = str(time.time_ns()).encode() + b"\n" if MODE == "fickle" else b""
        self.write(f"{name}.csv", header + salt + b"".join(row for row, _ in rows))
        if bad:
            self.write(f"{name}.bad.jsonl", b"".join(json.dumps(each).encode() + b"\n" for each in bad))
        self.sums["rows_in"] += len(lines)
        self.sums["rows_out"] += len(lines) - len(bad)
        self.sums["bad"] += len(bad)
        self.sums["chunks"] += 1
        self.tell(
            "chunk",
            chunk=ordinal,
            first_row=first_row,
            rows_in=len(lines),
            rows_out=len(lines) - len(bad),
            bad=len(bad),
            file=f"{name}.csv",
            bad_file=f"{name}.bad.jsonl" if bad else None,
            next=after,
            seconds={"read": 0.001, "score": 0.002, "write": 0.001},
        )
        self.at = after

    def is_kept(self, within_s: float = 60.0) -> bool:
        """Whether all that this process has reported is kept, in time."""
        with HEARD:
            return HEARD.wait_for(lambda: not self.mine or self.at["chunk"] - 1 in KEPT, within_s)

    def run(self) -> None:
        """To the end, or until asked to end."""
        columns = [{"name": "id", "type": "string"}, {"name": "score", "type": "float64"}]
        with open(self.plan["input"]["files"][0], "rb") as file:  # noqa: PTH123 (likewise)
            rows = sum(1 for _ in file) - 1
        self.tell("started", rows=rows, columns=columns, chunk_rows=self.chunk_rows)
        while not STOPPING.is_set():
            UNKEPT.acquire()
            lines, after = self.lines()
            if not lines:
                break
            STOPPING.wait(PAUSE_S)
            while self.at["chunk"] >= HOLD_AT and os.path.exists(HOLD) and not STOPPING.wait(HOLD_LOOK_S):  # noqa: PTH110 (likewise)
                pass
            began = time.process_time()
            while time.process_time() < began + BUSY_S:
                pass
            if STOPPING.is_set():
                break
            self.chunk(lines, after)
            self.mine += 1
            most = {"fail": 0, "limit": self.plan["on_error"].get("limit")}.get(self.plan["on_error"]["policy"])
            if most is not None and self.sums["bad"] > most:
                self.is_kept()
                problem = {"code": "too_many_bad_rows", "title": "Too many rows are bad", "detail": "rows are bad"}
                self.tell("failed", problem=problem)
                sys.exit(65)
            if MODE == "crash":
                self.is_kept()
                os.abort()
            self.tell("progress", rows=after["row"])
        kept = self.is_kept(1.0 if STOPPING.is_set() else 60.0)
        if STOPPING.is_set() or not kept:
            self.tell("paused")
        else:
            self.tell("finished", **self.sums)


def behave() -> None:
    """As MODE says, before anything is done."""
    if MODE == "die" or os.path.exists(os.environ.get("DIES", "")):  # noqa: PTH110 (likewise)
        print("a line before the end\0", flush=True)
        sys.exit(3)
    if MODE == "hungry":
        raise MemoryError
    if MODE == "refuse":
        print(json.dumps({"code": "opset_too_new", "message": "opset 99 is too new", "hint": "export again"}))
        sys.exit(65)
    if MODE == "left" and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        os._exit(0)
    if MODE == "deaf":
        time.sleep(60)
    if MODE == "escaped" and not os.path.exists(os.environ["ESCAPED"]):  # noqa: PTH110 (likewise)
        left, gone = os.pipe()
        if (child := os.fork()) == 0:
            os.setsid()
            os.write(gone, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(left, 1)  # it is out of our group, so that who ends that does not end it
        with open(os.environ["ESCAPED"], "w") as file:  # noqa: PTH123 (likewise)
            file.write(str(child))
        os.abort()


def lie(given: "dict[str, str]") -> None:
    """Say it, and then nothing."""
    output = given["--output"]
    os.mkfifo(f"{output}/pipe")
    os.symlink("/etc/hostname", f"{output}/link")  # noqa: PTH211 (likewise)
    os.mkdir(f"{output}/folder")  # noqa: PTH102 (likewise)
    os.write(int(given["--report-fd"]), os.environ["LIE"].encode() + b"\n")
    time.sleep(60)


def main() -> None:
    """Behave as MODE says."""
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    print(json.dumps({"arguments": given, "environment": dict(os.environ), "folder": os.getcwd()}), flush=True)  # noqa: PTH109 (likewise)
    handler = signal.SIG_IGN if MODE == "stubborn" else lambda *_: STOPPING.set()
    signal.signal(signal.SIGTERM, handler)
    threading.Thread(target=end_with_parent, args=(int(given["--parent-fd"]),), daemon=True).start()
    threading.Thread(target=hear, args=(int(given["--ack-fd"]),), daemon=True).start()
    behave()
    if "LIE" in os.environ:
        lie(given)
    Run(given).run()


if __name__ == "__main__":
    main()
