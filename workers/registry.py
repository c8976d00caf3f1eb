"""Which handler does which work: operation kinds by name, predictions and deliveries by their lane."""

from collections.abc import Mapping

from workers.executor import Handler
from workers.handlers import datasets, deletions, jobs, models, predictions, runs, services, webhooks


def handlers() -> Mapping[str, Handler]:
    """Every handler that this build has."""
    return {
        "version.inspect": models.inspect,
        "version.test": models.test,
        "version.delete": deletions.delete_version,
        "model.delete": deletions.delete_model,
        "service.deploy": services.deploy,
        "service.update": services.update,
        "service.rollback": services.update,
        "service.restart": services.restart,
        "service.resume": services.resume,
        "service.pause": services.pause,
        "service.delete": services.delete,
        "run.execute": runs.execute,
        "run.resume": runs.execute,
        "run.pause": runs.pause,
        "run.stop": runs.stop,
        "dataset.create": datasets.create,
        "job.delete": jobs.delete_job,
        "predict": predictions.predict,
        "deliver": webhooks.deliver,
    }
