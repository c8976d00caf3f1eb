"""Three questions to each machine: can every status be reached, can it be left, does an illegal move name itself."""

import pytest

from core.errors import IllegalMove
from state.advance import OWNER_VERBS, illegal
from state.history import MACHINE_OF
from state.machines import MACHINES, Machine

ALL = sorted(MACHINES.values(), key=lambda machine: machine.name)
TABLE_OF = {machine.name: table for table, machine in MACHINE_OF.items()}


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_every_status_is_reached(machine: Machine) -> None:
    reached = {machine.initial}
    while new := {m.to for m in machine.moves.values() if m.sources & reached} - reached:
        reached |= new
    assert reached == set(machine.statuses)


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_every_status_can_be_left_or_is_final(machine: Machine) -> None:
    for status in machine.statuses:
        assert bool(machine.legal_from(status)) != (status in machine.final), status


@pytest.mark.parametrize("machine", [m for m in ALL if m.name in TABLE_OF], ids=lambda machine: machine.name)
def test_an_illegal_move_names_itself(machine: Machine) -> None:
    for status in machine.statuses:
        for move in machine.moves.values():
            if status not in move.sources:
                named = {"name": "x_1"} if hasattr(TABLE_OF[machine.name], "name") else {}
                error = illegal(TABLE_OF[machine.name](id="x_1", status=status, **named), move.name)
                assert isinstance(error, IllegalMove)
                assert f"{machine.name} 'x_1' is {status}; '{move.name}' is not possible" in error.message
                assert error.extensions["allowed"] == [m for m in machine.legal_from(status) if m in OWNER_VERBS]


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_a_status_in_ing_resolves_by_itself(machine: Machine) -> None:
    for status in machine.statuses:
        if status.endswith("ing") and status not in ("pending", "running"):
            assert machine.legal_from(status), status


def test_delete_pause_and_rollback_are_legal_from_any_ing() -> None:
    service = MACHINES["service"]
    moving = {"deploying", "updating", "resuming"}
    assert moving | {"pausing"} <= set(map(str, service.moves["delete"].sources))
    assert moving <= set(map(str, service.moves["pause"].sources))
    # A service that is deployed for the first time has no live revision to serve on with: its deployment begins again.
    assert (moving - {"deploying"}) | {"pausing"} <= set(map(str, service.moves["rollback"].sources))
    assert "deploying" in service.moves["redeploy"].sources
