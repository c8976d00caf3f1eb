"""Which run is begun next on a node that has more of them than it may run."""

from pathlib import Path

from state.jobtables import RunProcess
from state.runplacing import WantedRun
from tests.workers.node.runworld import FINAL, Hold, open_run_world
from tests.workers.node.world import until
from tests.workers.runrows import numbers
from workers.node.runturns import RunTurns


def run(number: int, tenant: str) -> WantedRun:
    return WantedRun(f"run_{number}", tenant, 1, True, 0, None, None, None, None)


def test_many_runs_of_one_tenant_hold_up_no_other() -> None:
    waiting = [*(run(number, "greedy") for number in range(10, 20)), run(20, "modest"), run(21, "modest")]
    order = [each.run_id for each in RunTurns().among(waiting, [])]
    assert order[:4] == ["run_10", "run_20", "run_11", "run_21"]
    assert order[4:] == [f"run_{number}" for number in range(12, 20)]


def test_who_has_the_fewest_at_work_is_next() -> None:
    working = [run(1, "greedy"), run(2, "greedy"), run(3, "modest")]
    waiting = [run(4, "greedy"), run(5, "modest"), run(6, "new"), run(7, "new")]
    assert [each.run_id for each in RunTurns().among(waiting, working)] == ["run_6", "run_5", "run_7", "run_4"]


def test_where_one_works_at_a_time_the_tenants_alternate() -> None:
    turns, order = RunTurns(), list[str]()
    waiting = [*(run(number, "greedy") for number in range(10, 14)), run(20, "modest"), run(21, "modest")]
    while waiting:
        following = next(turns.among(waiting, []))
        turns.began(following.tenant_id)
        waiting.remove(following)
        order.append(following.run_id)
    assert order == ["run_10", "run_20", "run_11", "run_21", "run_12", "run_13"]


async def test_the_node_lets_tenants_take_turns(data: Path, tmp_path: Path) -> None:
    async with open_run_world(data, runs_at_once=1) as runs:
        first = await runs.begin(numbers(200), variables={"PAUSE_MS": "60000"})
        await runs.running(first)
        holds = [Hold(tmp_path / f"hold-{number}") for number in range(3)]
        jobs = [await runs.ground.job(f"job-{at}", variables=hold.at(0)) for at, hold in enumerate(holds)]
        waiting = [await runs.ground.run(job) for job in jobs]

        async def all_are_wanted() -> bool:
            return None not in [await runs.process(each) for each in waiting]

        await until(all_are_wanted)
        async with runs.database.write() as session:
            (await session.get_one(RunProcess, waiting[2].id)).tenant_id = "ten_another"
        begun: list[int] = []

        async def another_has_begun() -> bool:
            found = [await runs.process(each) for each in waiting]
            new = [at for at, each in enumerate(found) if each is not None and each.epoch > 0 and at not in begun]
            begun.extend(new)
            return bool(new)

        await runs.ground.act(first, "stop")
        for _ in waiting:
            await until(another_has_begun)
            holds[begun[-1]].release()
        assert begun == [2, 0, 1]  # the default tenant had the first
        assert [(await runs.until(each, *FINAL)).status for each in waiting] == ["succeeded"] * 3
