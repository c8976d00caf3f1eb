"""The client for threads and scripts: `Portside().deploy("iris.onnx").predict({…})`.

`async_client.py` has the same for asyncio.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from portside.address import Address
from portside.collection import Collection
from portside.datasets import Dataset, Datasets
from portside.deploying import WAIT_S, Plan, deploy, open_source, upload
from portside.jobs import Job, Run
from portside.messages import Json
from portside.open import open_blocking
from portside.resources import Model, Operation, Prediction, Service, Version
from portside.running import create_job, create_script_job
from portside.session import TIMEOUT_S, Retries, finish
from portside.sources import ModelFile
from portside.waiting import Patience


class Portside:
    """One platform. Everything that asks it raises `ConnectionFailed` and `ApiError`, which are `PortsideError`s.

    It may be used by several threads. Close it, or use it in a `with`, to close its connections at once; without, they
    are closed with the last object that came of it.
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
        self._session = open_blocking(address, timeout_s, retries or Retries())
        self.models = Collection(self._session, "models", Model)
        self.services = Collection(self._session, "services", Service)
        self.operations = Collection(self._session, "operations", Operation)
        self.predictions = Collection(self._session, "predictions", Prediction)
        self.datasets = Datasets(self._session, "datasets", Dataset)
        self.jobs = Collection(self._session, "jobs", Job)
        self.runs = Collection(self._session, "runs", Run)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        finish(self._session.close())

    def upload(self, file: ModelFile, model: str, *, wait: bool = True, timeout_s: float = WAIT_S) -> Version:
        """A ready version of the model with the file's bytes; nothing is sent where there is one.

        `file` is a path or a seekable binary file; it is streamed. Without `wait` the version may not be inspected yet.
        Raises `OSError`, `OperationFailed` for a file that cannot be served, and `WaitTimeout`, too.
        """
        made = finish(upload(self._session, open_source(file), model, Patience(timeout_s), wait=wait))
        return Version.read(self._session, made.document, _operation_id=made.operation_id)

    def deploy(
        self,
        file: ModelFile,
        name: str | None = None,
        *,
        model: str | None = None,
        replicas: int | None = None,
        wait: bool = True,
        timeout_s: float = WAIT_S,
    ) -> Service:
        """A service that runs the file: uploaded, inspected and deployed as far as that is not done yet.

        The service is named after the file, the model as the service, unless told otherwise; one that is there rolls to
        the new version, a paused one is resumed. Without `wait` it may not answer yet: `.wait()` on what is returned.
        Raises `OSError`, `InvalidInput`, `OperationFailed` and `WaitTimeout`, too.
        """
        plan = Plan.make(file, name, model, replicas)
        made = finish(deploy(self._session, plan, Patience(timeout_s), wait=wait))
        return Service.read(self._session, made.document, _operation_id=made.operation_id)

    def create_script_job(self, name: str, script: str | Mapping[str, Json], **more: Json) -> Job:
        """A job that runs a Python script: its text, or `{"file": "file_…", "entry": "train.py", "requirements": […]}`.

        `more` is what else the API takes: `inputs`, `outputs`, `args`, `env`, `resources`, …
        """
        return Job.read(self._session, finish(create_script_job(self._session, name, script, more)))

    def create_job(self, name: str, model: str, data: str | Mapping[str, Json], **more: Json) -> Job:
        """A job that scores `data`, a dataset by its name or a URI, with the model each time that it is run.

        `more` is what else the API takes: `version`, `output`, `mapping`, `pass_through`, `on_error`, `env`, …
        """
        return Job.read(self._session, finish(create_job(self._session, name, model, data, more)))
