"""A worker of procrastinate that works off no-op jobs; run by the interpreter that has it. Prints jobs per second."""

import sys
import time

import procrastinate  # type: ignore[import-not-found]  # in an environment of its own, see `benchmarks.drain`
import psycopg  # type: ignore[import-not-found]  # likewise
import uvloop


async def main(url: str, count: int, concurrency: int) -> None:
    """Queue them by one statement, then work them off."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=10))

    @app.task(name="nothing")  # type: ignore[untyped-decorator]  # as its import
    async def nothing(number: int) -> None:
        """Do nothing."""

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, args) "
                "SELECT 'default', 'nothing', jsonb_build_object('number', n) FROM generate_series(1, %s) n",
                (count,),
            )
            await connection.execute("ANALYZE")
        began = time.perf_counter()
        await app.run_worker_async(concurrency=concurrency, wait=False, install_signal_handlers=False)
        took_s = time.perf_counter() - began
        async with await psycopg.AsyncConnection.connect(url) as connection:
            cursor = await connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'")
            done = (await cursor.fetchone())[0]
    if done != count:
        sys.exit(f"{done} of {count} jobs succeeded")
    print(f"{count / took_s:.1f}")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
