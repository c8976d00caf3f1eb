"""From the accepted deploy to the first successful prediction, asked again and again as an impatient client does."""

import time

from benchmarks.figures import Figure, in_words, median
from benchmarks.platform import EXAMPLES, Broken, Platform, fresh_folder, predict_path, running, sample_body
from benchmarks.wire import Connection, request

TRIES = 5
LIMITS_S = {"iris.onnx": 1.5, "iris.pmml": 4.0}
ASK_S = 0.01
PATIENCE_S = 60.0


def measure() -> list[Figure]:
    """Each format in turn, one service at a time."""
    figures = []
    with fresh_folder() as data, running(data) as platform:
        for name, limit_s in LIMITS_S.items():
            model = name.replace(".", "-")
            platform.finish(platform.upload(EXAMPLES / name, model))
            samples = [_first_prediction_s(platform, name, model, f"{model}-{number}") for number in range(TRIES)]
            ok = median(samples) <= limit_s
            bar = f"deploy to first prediction, {name}"
            figures.append(Figure(bar, f"median ≤ {limit_s:g} s", in_words(samples, "s"), ok))
    return figures


def _first_prediction_s(platform: Platform, name: str, model: str, service: str) -> float:
    ask = request("POST", predict_path(service), sample_body(EXAMPLES / name))
    platform.deploy(model, service)
    accepted = time.perf_counter()
    with Connection(platform.address) as connection:
        while connection.exchange(ask).status != 200:
            if time.perf_counter() - accepted > PATIENCE_S:
                raise Broken(f"service {service} does not answer after {PATIENCE_S:g} s")
            time.sleep(ASK_S)
    took_s = time.perf_counter() - accepted
    platform.delete(f"/api/v1/services/{service}")
    return took_s
