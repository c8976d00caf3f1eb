"""From a file to a scorer: find the engine, describe, load, and let the model answer its own sample once."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from serving.engines.base import InvalidModel, LoadedModel
from serving.engines.open import detect_format, open_engine
from serving.json_text import plain
from serving.problems import Problem
from serving.sample import candidate_samples
from serving.score import Identity, Scorer, is_out_of_memory
from serving.signature import Signature

_WARM_UP_CALLS, _WARM_UP_S = 5, 0.5


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scorer that is ready to answer, and the time that a small call of it takes."""

    scorer: Scorer
    call_s: float


@dataclass(frozen=True, slots=True)
class Described:
    """A model in memory beside its signature."""

    signature: Signature
    model: LoadedModel


def open_model(path: Path, signature: Signature | None, threads: int) -> Described:
    """Describe the file, unless that was done before, and load it. Raises `InvalidModel`."""
    engine = open_engine(signature.format if signature else detect_format(path))
    try:
        signature = signature or engine.describe(path)
        return Described(signature, engine.load(path, signature, threads))
    except (MemoryError, InvalidModel, RuntimeError) as error:
        if is_out_of_memory(error) or not _could_hold(path):
            raise memory_exceeded() from error
        raise


def load_scorer(path: Path, signature: Signature | None, identity: Identity, threads: int) -> Loaded:
    """Make a model ready to serve, warmed up with its sample. Raises `InvalidModel`."""
    return warmed_up(open_model(path, signature, threads), identity)


def warmed_up(opened: Described, identity: Identity) -> Loaded:
    """A model in memory made ready to serve."""
    scorer = Scorer(opened.signature, opened.model, identity)
    return Loaded(scorer, _warm_up(scorer, opened.signature))


def prove(described: Described, identity: Identity) -> Signature:
    """The signature with a sample that this model has really answered. Raises `InvalidModel` when it answers none."""
    scorer = Scorer(described.signature, described.model, identity)
    refusal: Problem | None = None
    for sample in candidate_samples(described.signature):
        try:
            answer = scorer.answer(scorer.validator.question({"inputs": sample}))
        except Problem as problem:
            refusal = problem
            continue
        # Through JSON and back: what is kept must be what a caller would see (no NaN, no numpy).
        output = msgspec.json.decode(msgspec.json.encode(answer, enc_hook=plain), type=dict[str, object])
        return replace(described.signature, sample=sample, sample_output=output)
    if refusal is not None and refusal.code == "memory_limit_exceeded":
        raise memory_exceeded()
    why = refusal.detail if refusal else "its inputs are too large to make one"
    message = f"the model loads but answers no sample made from its signature: {why}"
    raise InvalidModel("sample_failed", message, "Try the model with its own runtime, with ones as its inputs.")


def _warm_up(scorer: Scorer, signature: Signature) -> float:
    """Predict the sample a few times; the quickest tells how long a call takes when nothing is new or in its way."""
    for sample in candidate_samples(signature):
        taken_s: list[float] = []
        try:
            while len(taken_s) < _WARM_UP_CALLS and sum(taken_s) < _WARM_UP_S:
                begun = time.perf_counter()
                scorer.answer(scorer.validator.question({"inputs": sample}))
                taken_s.append(time.perf_counter() - begun)
        except Problem:
            continue
        return min(taken_s)
    return 0.0


def _could_hold(path: Path) -> bool:
    """Whether memory sufficed for the file and a copy: a parser without memory may call a whole file damaged."""
    try:
        bytearray(2 * path.stat().st_size)
    except (MemoryError, OSError):
        return False
    return True


def memory_exceeded() -> InvalidModel:
    """The refusal of a model that does not fit."""
    message = "the model needs more memory than this process may use"
    return InvalidModel("memory_limit_exceeded", message, "Raise the memory limit, or export a smaller model.")
