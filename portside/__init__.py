"""What users of Portside import and start: the Python client (`Portside`, `AsyncPortside`) and the launcher.

May import: the standard library and httpx2, which only `transport` and `async_transport` do; it knows the platform by
its HTTP API. Must never: import a room of the server. The launcher starts the command line by name, and nothing else
here does. The names below are what users import from here; each is loaded when it is first asked for, so that
`import portside` costs nothing.
"""

from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for true; typing's own would have to be imported
if TYPE_CHECKING:
    from portside.async_client import AsyncPortside as AsyncPortside
    from portside.async_datasets import AsyncDataset as AsyncDataset
    from portside.async_jobs import AsyncJob as AsyncJob
    from portside.async_jobs import AsyncRun as AsyncRun
    from portside.async_resources import AsyncModel as AsyncModel
    from portside.async_resources import AsyncOperation as AsyncOperation
    from portside.async_resources import AsyncPrediction as AsyncPrediction
    from portside.async_resources import AsyncService as AsyncService
    from portside.async_resources import AsyncVersion as AsyncVersion
    from portside.client import Portside as Portside
    from portside.datasets import Dataset as Dataset
    from portside.errors import AnswerTimeout as AnswerTimeout
    from portside.errors import ApiError as ApiError
    from portside.errors import Conflict as Conflict
    from portside.errors import ConnectionFailed as ConnectionFailed
    from portside.errors import FieldProblem as FieldProblem
    from portside.errors import Forbidden as Forbidden
    from portside.errors import InvalidAddress as InvalidAddress
    from portside.errors import InvalidInput as InvalidInput
    from portside.errors import NotFound as NotFound
    from portside.errors import OperationCanceled as OperationCanceled
    from portside.errors import OperationFailed as OperationFailed
    from portside.errors import PortsideError as PortsideError
    from portside.errors import PredictionCanceled as PredictionCanceled
    from portside.errors import PredictionFailed as PredictionFailed
    from portside.errors import Rejected as Rejected
    from portside.errors import RunFailed as RunFailed
    from portside.errors import RunStopped as RunStopped
    from portside.errors import TooManyRequests as TooManyRequests
    from portside.errors import Unauthorized as Unauthorized
    from portside.errors import Unavailable as Unavailable
    from portside.errors import UnexpectedAnswer as UnexpectedAnswer
    from portside.errors import WaitTimeout as WaitTimeout
    from portside.jobs import Job as Job
    from portside.jobs import Run as Run
    from portside.resources import Model as Model
    from portside.resources import Operation as Operation
    from portside.resources import Prediction as Prediction
    from portside.resources import Service as Service
    from portside.resources import Version as Version
    from portside.session import Retries as Retries

else:
    HOMES = {
        "async_client": "AsyncPortside",
        "async_datasets": "AsyncDataset",
        "async_jobs": "AsyncJob AsyncRun",
        "async_resources": "AsyncModel AsyncOperation AsyncPrediction AsyncService AsyncVersion",
        "client": "Portside",
        "datasets": "Dataset",
        "errors": (
            "AnswerTimeout ApiError Conflict ConnectionFailed FieldProblem Forbidden InvalidAddress InvalidInput "
            "NotFound OperationCanceled OperationFailed PortsideError PredictionCanceled PredictionFailed Rejected "
            "RunFailed RunStopped TooManyRequests Unauthorized Unavailable UnexpectedAnswer WaitTimeout"
        ),
        "jobs": "Job Run",
        "resources": "Model Operation Prediction Service Version",
        "session": "Retries",
    }
    HOME_OF = {name: module for module, names in HOMES.items() for name in names.split()}
    __all__ = sorted(HOME_OF)

    def __getattr__(name):
        """The name from the module that has it, which is loaded now."""
        if name not in HOME_OF:
            raise AttributeError("module 'portside' has no attribute " + repr(name))
        found = getattr(import_module("portside." + HOME_OF[name]), name)
        globals()[name] = found
        return found

    def __dir__():
        """For completion: the names are there before they are loaded."""
        return sorted(set(globals()) | set(__all__))
