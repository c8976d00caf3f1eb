"""Switches: what an operator takes out of service for a while, with a reason and perhaps an end."""

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from api.dependencies import Reading, WhoAsks, require_operator
from api.mutations import Calling, Effect, Shown
from api.nearest import hint
from api.routes.models import show_nothing
from api.routing import OperatorRoute
from api.schemas.system import SwitchBody, SwitchList, SwitchShown, switch_document
from core.errors import NotFound
from state.database import ReadSession, WriteSession
from state.operations import Named, record
from state.switches import SWITCHES, read_switches, switch_off, switch_on
from state.tables import Operation

router = APIRouter(prefix="/api/v1/system/switches", tags=["system"], route_class=OperatorRoute)


@router.get("", operation_id="list_switches", responses={200: {"model": SwitchList}})
async def list_switches(session: Reading, who: WhoAsks) -> Response:
    """All switches, off or on."""
    off = await read_switches(session)
    return JSONResponse({"items": [switch_document(name, off.get(name)) for name in SWITCHES]})


@router.get("/{switch}", operation_id="get_switch", responses={200: {"model": SwitchShown}})
async def get_switch(session: Reading, who: WhoAsks, switch: str) -> Response:
    """One switch."""
    check_name(switch)
    return JSONResponse(switch_document(switch, (await read_switches(session)).get(switch)))


@router.put("/{switch}", operation_id="switch_off", responses={200: {"model": SwitchShown}})
async def put_switch(call: Calling, switch: str, body: SwitchBody) -> Response:
    """Switch off, or say anew why and for how long; every process honours it within two seconds."""
    require_operator(call.who)
    check_name(switch)

    async def work(session: WriteSession) -> Effect[Operation]:
        micros = None if body.expires_in_s is None else body.expires_in_s * 1_000_000
        await switch_off(session, switch, call.who.actor, body.reason, micros)
        operation = await record(session, call.who, "switch.off", Named(switch, switch), reason=body.reason)
        return Effect(operation, switch)

    async def show(session: ReadSession, name: str) -> Shown:
        return Shown(switch_document(name, (await read_switches(session)).get(name)))

    return await call.mutate(work, show)


@router.delete("/{switch}", operation_id="switch_on", status_code=204)
async def delete_switch(call: Calling, switch: str) -> Response:
    """Switch on again; what waited goes on."""
    require_operator(call.who)
    check_name(switch)

    async def work(session: WriteSession) -> Effect[Operation]:
        await switch_on(session, switch)
        return Effect(await record(session, call.who, "switch.on", Named(switch, switch)), switch)

    return await call.mutate(work, show_nothing)


def check_name(given: str) -> None:
    """Raises `NotFound` for what is no switch, naming the nearest that is."""
    if given not in SWITCHES:
        raise NotFound(f"there is no switch '{given[:60]}'; {hint(given, SWITCHES)}")
