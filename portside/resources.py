"""What users hold, for threads: models, versions, services, operations and predictions with their verbs.

Snapshots. `async_resources.py` says the same with `await`; what both do is written once, in the modules of coroutines.
"""

from collections.abc import Iterator, Sequence

from portside.deploying import WAIT_S, operation_id_of, settled
from portside.facts import ModelFacts, OperationFacts, PredictionFacts, ServiceFacts, VersionFacts
from portside.messages import Document, Json
from portside.predicting import OnError, predict, predict_rows, question, submit
from portside.requests import changing, deletion, path_to
from portside.session import finish
from portside.sources import ModelFile
from portside.waiting import Pages, Patience, operation_of, wait_for_operation, wait_for_prediction


class Operation(OperationFacts):
    """One durable unit of the platform's work. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    def reload(self) -> "Operation":
        """As it is now."""
        return Operation.read(self._session, finish(self._session.get(path_to("operations", self.id))))

    def wait(self, timeout_s: float = WAIT_S) -> "Operation":
        """Once it has succeeded. Raises `OperationFailed`, `OperationCanceled` and `WaitTimeout`, too."""
        found = finish(wait_for_operation(self._session, self.raw, Patience(timeout_s)))
        return Operation.read(self._session, found)

    def cancel(self) -> "Operation":
        """Ask it to stop; one that has ended stays as it is."""
        request = changing("POST", path_to("operations", f"{self.id}:cancel"))
        return Operation.read(self._session, finish(self._session.send(request)).document)


class Prediction(PredictionFacts):
    """One durable prediction. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    def reload(self) -> "Prediction":
        """As it is now."""
        return Prediction.read(self._session, finish(self._session.get(path_to("predictions", self.id))))

    def wait(self, timeout_s: float = WAIT_S) -> "Prediction":
        """Once it has succeeded. Raises `PredictionFailed`, `PredictionCanceled` and `WaitTimeout`, too."""
        found = finish(wait_for_prediction(self._session, self.raw, Patience(timeout_s)))
        return Prediction.read(self._session, found)

    def cancel(self) -> "Prediction":
        """Stop it; one that has ended stays as it is."""
        request = changing("POST", path_to("predictions", self.id, "cancel"))
        return Prediction.read(self._session, finish(self._session.send(request)).document)


class Service(ServiceFacts):
    """A deployed version. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    def predict(
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
        return finish(predict(self._session, self.name, body, timeout_s, part, on_error))

    def predict_csv(
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
        return finish(predict_rows(self._session, self.name, rows, timeout_s, part, on_error))

    def submit(
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
    ) -> Prediction:
        """The same as a prediction that outlives every process, to be waited for or told by `webhook`.

        `webhook_events` are `start` and `completed`, both without it. Raises `InvalidInput`, too.
        """
        body = question(inputs, columns, data, tensors)
        made = finish(submit(self._session, self.name, body, webhook, webhook_events, cancel_after_s, part, on_error))
        return Prediction.read(self._session, made)

    def reload(self) -> "Service":
        """As it is now."""
        return Service.read(self._session, finish(self._session.get(path_to("services", self.name))))

    def wait(self, timeout_s: float = WAIT_S) -> "Service":
        """After the operation that holds it. Raises `OperationFailed`, `OperationCanceled`, `WaitTimeout`, too."""
        held_by = self._operation_id or operation_id_of(self.raw)
        path = path_to("services", self.name)
        return Service.read(self._session, finish(settled(self._session, held_by, path, Patience(timeout_s))))

    def update(self, **wishes: Json) -> Operation:
        """Change what is wanted: `version`, `replicas`, `env`, `resources`, …; None gives the default back."""
        return self._ask("PATCH", "", wishes)

    def pause(self) -> Operation:
        """Free its processes and keep it."""
        return self._ask("POST", ":pause")

    def resume(self) -> Operation:
        """Bring it back."""
        return self._ask("POST", ":resume")

    def restart(self) -> Operation:
        """Replace every replica by a fresh one."""
        return self._ask("POST", ":restart")

    def rollback(self, revision: int | None = None) -> Operation:
        """Run an earlier revision again: this one, or what ran before."""
        return self._ask("POST", ":rollback", {} if revision is None else {"revision": revision})

    def delete(self) -> Operation:
        """End its processes and free its name."""
        return self._ask("DELETE", "")

    def _ask(self, method: str, verb: str, body: Json = None) -> Operation:
        answer = finish(self._session.send(changing(method, path_to("services", self.name + verb), body)))
        return Operation.read(self._session, finish(operation_of(self._session, answer)))


class Version(VersionFacts):
    """One immutable upload of a model. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    def reload(self) -> "Version":
        """As it is now."""
        return Version.read(self._session, finish(self._session.get(self._path)))

    def wait(self, timeout_s: float = WAIT_S) -> "Version":
        """Once it is inspected. Raises `OperationFailed` for a file that cannot be served, and `WaitTimeout`, too."""
        found = finish(settled(self._session, self._operation_id, self._path, Patience(timeout_s)))
        return Version.read(self._session, found)

    def delete(self) -> None:
        """Delete it; a service that uses it is a `Conflict`."""
        finish(self._session.send(changing("DELETE", self._path)))


class Model(ModelFacts):
    """A model with its versions. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    def reload(self) -> "Model":
        """As it is now."""
        return Model.read(self._session, finish(self._session.get(path_to("models", self.name))))

    def version(self, version: str = "latest") -> Version:
        """One version: a number, `latest` (the newest ready one), `@alias` or `sha256:…`."""
        found = finish(self._session.get(path_to("models", self.name, "versions", version)))
        return Version.read(self._session, found)

    def all_versions(self) -> Iterator[Version]:
        """Every version, the newest first."""
        pages = Pages(self._session, path_to("models", self.name, "versions"), {})
        while (page := finish(pages.turn())) is not None:
            for each in page:
                yield Version.read(self._session, each)

    def delete(self, *, cascade: bool = False, services: Sequence[str] | None = None) -> Operation:
        """Delete it with its versions; a service that uses one is a `Conflict`, unless services go with it: `cascade`.

        With `services` only these may go, by their names: a `Conflict` where others use it by now.
        """
        answer = finish(self._session.send(deletion(self.name, cascade=cascade, services=services)))
        return Operation.read(self._session, finish(operation_of(self._session, answer)))

    def would_delete(self, *, cascade: bool = False) -> Document:
        """What `delete` would take with it: the names of the `services`, and how many `versions`."""
        answer = finish(self._session.send(deletion(self.name, cascade=cascade, dry_run=True)))
        return answer.document
