"""How to call a service from elsewhere: code with its own sample in it."""

from fastapi import APIRouter, Request

from api import snippets
from api.dependencies import ContextOf, Reading, WhoAsks
from api.links import links_for
from api.routing import PlatformRoute
from api.schemas.services import SnippetsShown, predict_url
from core.errors import NotFound
from state.queries.services import find_service, sample_of

router = APIRouter(prefix="/api/v1/services/{service}/snippets", tags=["services"], route_class=PlatformRoute)


class NoSample(NotFound):
    """The inspection could make no record that the model answers."""

    code, title = "no_sample", "The model has no sample"


@router.get("", operation_id="get_snippets")
async def get_snippets(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, service: str
) -> SnippetsShown:
    """Code that asks this service with the sample of the version that it serves: curl, Python, JavaScript.

    Who reads this with a token needs one in the code too, which takes it from the variable `PORTSIDE_TOKEN`.
    """
    row = await find_service(session, who.tenant_id, service)
    sample = await sample_of(session, row)
    if sample is None:
        raise NoSample(
            f"the version that service '{row.name}' serves has no sample; its inputs are told by "
            f"GET /v2/models/{row.name}"
        )
    needs_token = "authorization" in request.headers
    question = snippets.Question(
        predict_url(links_for(request, context.settings), row.name), {"inputs": sample}, needs_token
    )
    return SnippetsShown(
        curl=snippets.curl(question), python=snippets.python(question), javascript=snippets.javascript(question)
    )
