"""What users hold, for asyncio: the same as `resources.py`, with `await`."""

from collections.abc import AsyncIterator, Sequence

from portside.deploying import WAIT_S, operation_id_of, settled
from portside.facts import ModelFacts, OperationFacts, PredictionFacts, ServiceFacts, VersionFacts
from portside.messages import Document, Json
from portside.predicting import OnError, predict, predict_rows, question, submit
from portside.requests import changing, deletion, path_to
from portside.sources import ModelFile
from portside.waiting import Pages, Patience, operation_of, wait_for_operation, wait_for_prediction


class AsyncOperation(OperationFacts):
    """One durable unit of the platform's work. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    async def reload(self) -> "AsyncOperation":
        """As it is now."""
        return AsyncOperation.read(self._session, await self._session.get(path_to("operations", self.id)))

    async def wait(self, timeout_s: float = WAIT_S) -> "AsyncOperation":
        """Once it has succeeded. Raises `OperationFailed`, `OperationCanceled` and `WaitTimeout`, too."""
        found = await wait_for_operation(self._session, self.raw, Patience(timeout_s))
        return AsyncOperation.read(self._session, found)

    async def cancel(self) -> "AsyncOperation":
        """Ask it to stop; one that has ended stays as it is."""
        request = changing("POST", path_to("operations", f"{self.id}:cancel"))
        return AsyncOperation.read(self._session, (await self._session.send(request)).document)


class AsyncPrediction(PredictionFacts):
    """One durable prediction. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    async def reload(self) -> "AsyncPrediction":
        """As it is now."""
        return AsyncPrediction.read(self._session, await self._session.get(path_to("predictions", self.id)))

    async def wait(self, timeout_s: float = WAIT_S) -> "AsyncPrediction":
        """Once it has succeeded. Raises `PredictionFailed`, `PredictionCanceled` and `WaitTimeout`, too."""
        found = await wait_for_prediction(self._session, self.raw, Patience(timeout_s))
        return AsyncPrediction.read(self._session, found)

    async def cancel(self) -> "AsyncPrediction":
        """Stop it; one that has ended stays as it is."""
        request = changing("POST", path_to("predictions", self.id, "cancel"))
        return AsyncPrediction.read(self._session, (await self._session.send(request)).document)


class AsyncService(ServiceFacts):
    """A deployed version. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    async def predict(
        self,
        inputs: Json = None,
        *,
        columns: Sequence[str] | None = None,
        data: Json = None,
        tensors: Json = None,
        part: str | None = None,
        on_error: OnError = "fail",
        timeout_s: float | None = None,
    ) -> Json:
        """What the model answers: to a record, a list of them, a table or raw tensors, in the same form.

        `part` is the key of the one that is asked where the version has several models; without it the default one
        answers. With `on_error="record"` a record that is wrong is answered None, and the answer is a dict: these
        `outputs`, and the `errors` with their index. Raises `InvalidInput`, too.
        """
        body = question(inputs, columns, data, tensors)
        return await predict(self._session, self.name, body, timeout_s, part, on_error)

    async def predict_csv(
        self,
        rows: ModelFile | bytes,
        *,
        part: str | None = None,
        on_error: OnError = "fail",
        timeout_s: float | None = None,
    ) -> str:
        """What the model answers to the rows of a CSV file whose first line names the columns, as CSV.

        `rows` are the file's bytes, its path, or a seekable binary file, which is streamed. With `on_error="record"` a
        row that is wrong is empty and says why in its column `error`. Raises `OSError`, too.
        """
        return await predict_rows(self._session, self.name, rows, timeout_s, part, on_error)

    async def submit(
        self,
        inputs: Json = None,
        *,
        columns: Sequence[str] | None = None,
        data: Json = None,
        tensors: Json = None,
        part: str | None = None,
        webhook: str | None = None,
        webhook_events: Sequence[str] | None = None,
        cancel_after_s: int | None = None,
        on_error: OnError = "fail",
    ) -> AsyncPrediction:
        """The same as a prediction that outlives every process, to be waited for or told by `webhook`.

        `webhook_events` are `start` and `completed`, both without it. Raises `InvalidInput`, too.
        """
        body = question(inputs, columns, data, tensors)
        made = await submit(self._session, self.name, body, webhook, webhook_events, cancel_after_s, part, on_error)
        return AsyncPrediction.read(self._session, made)

    async def reload(self) -> "AsyncService":
        """As it is now."""
        return AsyncService.read(self._session, await self._session.get(path_to("services", self.name)))

    async def wait(self, timeout_s: float = WAIT_S) -> "AsyncService":
        """After the operation that holds it. Raises `OperationFailed`, `OperationCanceled`, `WaitTimeout`, too."""
        held_by = self._operation_id or operation_id_of(self.raw)
        path = path_to("services", self.name)
        return AsyncService.read(self._session, await settled(self._session, held_by, path, Patience(timeout_s)))

    async def update(self, **wishes: Json) -> AsyncOperation:
        """Change what is wanted: `version`, `replicas`, `env`, `resources`, …; None gives the default back."""
        return await self._ask("PATCH", "", wishes)

    async def pause(self) -> AsyncOperation:
        """Free its processes and keep it."""
        return await self._ask("POST", ":pause")

    async def resume(self) -> AsyncOperation:
        """Bring it back."""
        return await self._ask("POST", ":resume")

    async def restart(self) -> AsyncOperation:
        """Replace every replica by a fresh one."""
        return await self._ask("POST", ":restart")

    async def rollback(self, revision: int | None = None) -> AsyncOperation:
        """Run an earlier revision again: this one, or what ran before."""
        return await self._ask("POST", ":rollback", {} if revision is None else {"revision": revision})

    async def delete(self) -> AsyncOperation:
        """End its processes and free its name."""
        return await self._ask("DELETE", "")

    async def _ask(self, method: str, verb: str, body: Json = None) -> AsyncOperation:
        answer = await self._session.send(changing(method, path_to("services", self.name + verb), body))
        return AsyncOperation.read(self._session, await operation_of(self._session, answer))


class AsyncVersion(VersionFacts):
    """One immutable upload of a model. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    async def reload(self) -> "AsyncVersion":
        """As it is now."""
        return AsyncVersion.read(self._session, await self._session.get(self._path))

    async def wait(self, timeout_s: float = WAIT_S) -> "AsyncVersion":
        """Once it is inspected. Raises `OperationFailed` for a file that cannot be served, and `WaitTimeout`, too."""
        found = await settled(self._session, self._operation_id, self._path, Patience(timeout_s))
        return AsyncVersion.read(self._session, found)

    async def delete(self) -> None:
        """Delete it; a service that uses it is a `Conflict`."""
        await self._session.send(changing("DELETE", self._path))


class AsyncModel(ModelFacts):
    """A model with its versions. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    async def reload(self) -> "AsyncModel":
        """As it is now."""
        return AsyncModel.read(self._session, await self._session.get(path_to("models", self.name)))

    async def version(self, version: str = "latest") -> AsyncVersion:
        """One version: a number, `latest` (the newest ready one), `@alias` or `sha256:…`."""
        found = await self._session.get(path_to("models", self.name, "versions", version))
        return AsyncVersion.read(self._session, found)

    async def all_versions(self) -> AsyncIterator[AsyncVersion]:
        """Every version, the newest first."""
        pages = Pages(self._session, path_to("models", self.name, "versions"), {})
        while (page := await pages.turn()) is not None:
            for each in page:
                yield AsyncVersion.read(self._session, each)

    async def delete(self, *, cascade: bool = False, services: Sequence[str] | None = None) -> AsyncOperation:
        """Delete it with its versions; a service that uses one is a `Conflict`, unless services go with it: `cascade`.

        With `services` only these may go, by their names: a `Conflict` where others use it by now.
        """
        answer = await self._session.send(deletion(self.name, cascade=cascade, services=services))
        return AsyncOperation.read(self._session, await operation_of(self._session, answer))

    async def would_delete(self, *, cascade: bool = False) -> Document:
        """What `delete` would take with it: the names of the `services`, and how many `versions`."""
        answer = await self._session.send(deletion(self.name, cascade=cascade, dry_run=True))
        return answer.document
