"""The client for asyncio: the same as `client.py`, with `await`."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from portside.address import Address
from portside.async_collection import AsyncCollection
from portside.async_datasets import AsyncDataset, AsyncDatasets
from portside.async_jobs import AsyncJob, AsyncRun
from portside.async_resources import AsyncModel, AsyncOperation, AsyncPrediction, AsyncService, AsyncVersion
from portside.deploying import WAIT_S, Plan, deploy, open_source, upload
from portside.messages import Json
from portside.open import open_async
from portside.running import create_job, create_script_job
from portside.session import TIMEOUT_S, Retries
from portside.sources import ModelFile
from portside.waiting import Patience


class AsyncPortside:
    """One platform. Everything that asks it raises `ConnectionFailed` and `ApiError`, which are `PortsideError`s.

    It belongs to one event loop. Close it, or use it in an `async with`.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        retries: Retries | None = None,
    ) -> None:
        """The platform at `url`, else at `PORTSIDE_API`, else at port 8000 of this machine; nothing is asked yet.

        `token` is else `PORTSIDE_TOKEN`, else the one in the data folder of a platform that this user runs there.
        `timeout_s` is for one call with all its retries. Raises `InvalidAddress`.
        """
        address = Address.find(url, token)
        self.url = address.url
        self._session = open_async(address, timeout_s, retries or Retries())
        self.models = AsyncCollection(self._session, "models", AsyncModel)
        self.services = AsyncCollection(self._session, "services", AsyncService)
        self.operations = AsyncCollection(self._session, "operations", AsyncOperation)
        self.predictions = AsyncCollection(self._session, "predictions", AsyncPrediction)
        self.datasets = AsyncDatasets(self._session, "datasets", AsyncDataset)
        self.jobs = AsyncCollection(self._session, "jobs", AsyncJob)
        self.runs = AsyncCollection(self._session, "runs", AsyncRun)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def upload(
        self, file: ModelFile, model: str, *, wait: bool = True, timeout_s: float = WAIT_S
    ) -> AsyncVersion:
        """A ready version of the model with the file's bytes; nothing is sent where there is one.

        `file` is a path or a seekable binary file; it is streamed. Without `wait` the version may not be inspected yet.
        Raises `OSError`, `OperationFailed` for a file that cannot be served, and `WaitTimeout`, too.
        """
        made = await upload(self._session, open_source(file), model, Patience(timeout_s), wait=wait)
        return AsyncVersion.read(self._session, made.document, _operation_id=made.operation_id)

    async def deploy(
        self,
        file: ModelFile,
        name: str | None = None,
        *,
        model: str | None = None,
        replicas: int | None = None,
        wait: bool = True,
        timeout_s: float = WAIT_S,
    ) -> AsyncService:
        """A service that runs the file: uploaded, inspected and deployed as far as that is not done yet.

        The service is named after the file, the model as the service, unless told otherwise; one that is there rolls to
        the new version, a paused one is resumed. Without `wait` it may not answer yet: `.wait()` on what is returned.
        Raises `OSError`, `InvalidInput`, `OperationFailed` and `WaitTimeout`, too.
        """
        plan = Plan.make(file, name, model, replicas)
        made = await deploy(self._session, plan, Patience(timeout_s), wait=wait)
        return AsyncService.read(self._session, made.document, _operation_id=made.operation_id)

    async def create_script_job(self, name: str, script: str | Mapping[str, Json], **more: Json) -> AsyncJob:
        """A job that runs a Python script: its text, or `{"file": "file_…", "entry": "train.py", "requirements": […]}`.

        `more` is what else the API takes: `inputs`, `outputs`, `args`, `env`, `resources`, …
        """
        return AsyncJob.read(self._session, await create_script_job(self._session, name, script, more))

    async def create_job(self, name: str, model: str, data: str | Mapping[str, Json], **more: Json) -> AsyncJob:
        """A job that scores `data`, a dataset by its name or a URI, with the model each time that it is run.

        `more` is what else the API takes: `version`, `output`, `mapping`, `pass_through`, `on_error`, `env`, …
        """
        return AsyncJob.read(self._session, await create_job(self._session, name, model, data, more))
