"""`python -m benchmarks.filling URL models|operations COUNT`: rows that a platform finds when it starts.

A process of its own that imports the rooms, while no platform runs on the database. Every second model has a
version; the operations are tests of these versions, queued for a day on which nobody will be here.
"""

import asyncio
import subprocess
import sys
from collections.abc import Sequence

from sqlalchemy import text

from benchmarks.platform import ROOT, Broken
from state.database import open_database
from state.migrate import DEFAULT_TENANT

LATE_S = 60.0
SECOND = 1_000_000  # in microseconds
BEGINNING = 1_750_000_000 * SECOND
MUCH_LATER = 4_000_000_000 * SECOND
RESOURCE = "id, tenant_id, created_at, tags, generation, edition, status, since, sequence, updated_at"
MODELS = (
    f"INSERT INTO models ({RESOURCE}, name, display_name, description, last_number) SELECT 'mdl_' || n, "
    f"'{DEFAULT_TENANT}', {BEGINNING} + n * {SECOND}, '[\"tag\"]', 1, 1, 'active', 0, 1, "
    f"{BEGINNING} + n * {SECOND}, 'm' || n, 'Model ' || n, 'What it is for', n % 2 FROM numbers",
    f"INSERT INTO versions ({RESOURCE}, model_id, number, digest, size_bytes, format) SELECT 'ver_' || n, "
    f"'{DEFAULT_TENANT}', {BEGINNING} + n * {SECOND}, '[]', 1, 1, 'ready', 0, 1, 0, 'mdl_' || n, 1, 'sha256:' || n, "
    "1, 'onnx' FROM numbers WHERE n % 2 = 1",
)
OPERATIONS = (
    "INSERT INTO operations (id, tenant_id, created_at, kind, target_type, target_id, target_name, generation, actor, "
    "arguments, lane, status, priority, due_at, attempt, rescues, epoch, cancel_requested, since, sequence) "
    f"SELECT 'op_' || n, '{DEFAULT_TENANT}', {BEGINNING} + n, 'version.test', 'version', 'ver_' || (2 * n - 1), '1', "
    f"1, 'a', '{{}}', 'control', 'queued', 100, {MUCH_LATER}, 0, 0, 0, false, 0, 1 FROM numbers",
)
STATEMENTS = {"models": MODELS, "operations": OPERATIONS}  # operations need twice as many models


async def fill(url: str, what: str, count: int) -> None:
    """Insert so many of them."""
    database = open_database(url, statement_s=None)
    is_sqlite = database.dialect == "sqlite"
    series = f"generate_series(1, {count}) AS numbers(n)"
    if is_sqlite:
        series = f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) SELECT n FROM c)"
    statements: Sequence[str] = [*STATEMENTS[what], *([] if is_sqlite else ["ANALYZE"])]
    async with database.write() as session:
        for statement in statements:
            query = text(statement.replace("FROM numbers", f"FROM {series}").replace(":", "\\:"))
            await session.execute(query)
    await database.close()


def fill_from_afar(url: str, what: str, count: int) -> None:
    """Do it in a process of its own. Raises `Broken`."""
    command = [sys.executable, "-m", "benchmarks.filling", url, what, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LATE_S, check=False)
    if done.returncode:
        raise Broken(f"the database was not filled: {done.stderr.strip()[-400:]}")


if __name__ == "__main__":
    asyncio.run(fill(sys.argv[1], sys.argv[2], int(sys.argv[3])))
