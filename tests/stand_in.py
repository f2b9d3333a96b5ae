"""What stands in for training where tests are about sweeps."""

import json
import types

import numpy as np
import pytest

from direp.program.record import Complete
from direp.program.settings import parse_seeds
from direp.program.sweep.trials import ended
from direp.runs import RunFolder


class Trainer:
    """Stands in for training: figures are a function of the settings, and the last seed tests worst where it validates
    best. `hook` sees the settings before."""

    def __init__(self):
        self.trained, self.hook = [], lambda settings: "done"

    def __call__(self, settings, out, how):
        with RunFolder(out, {"settings": settings.to_dict()}, begun=True) as folder:
            if ended(out):
                raise Complete
            return self._train(settings, out, folder)

    def _train(self, settings, out, folder):
        status = self.hook(settings)
        self.trained.append((settings.beta, settings.learning_rate, settings.seeds))
        seeds = parse_seeds(settings.seeds)
        loss = [abs(np.log(settings.beta / 2)) + settings.learning_rate + 0.001 * seed for seed in seeds]
        each = [
            {
                "seed": seed, "failed": status == "failed", "train": {"loss": 0.0, "accuracy": 1.0},
                "validation": {"loss": value, "accuracy": 1 - value}, "test": {"loss": 7 - value, "accuracy": value},
            }
            for seed, value in zip(seeds, loss, strict=True)
        ]  # fmt: skip
        means = {
            part: {name: float(np.mean([one[part][name] for one in each])) for name in ("loss", "accuracy")}
            for part in ("train", "validation", "test")
        }
        summary = {
            "run": str(out), "status": status, "failed": len(seeds) * (status == "failed"), **means, "seconds": 1.0,
            "certificate": {"verdict": "proved"}, "per_seed": each,
            **({"failure": "training diverged"} if status == "failed" else {}),
        }  # fmt: skip
        if status != "interrupted":
            (out / "summary.json").write_text(json.dumps(summary))
        folder.tell(status)
        return types.SimpleNamespace(run=types.SimpleNamespace(status=status), rescued=False)


@pytest.fixture
def trainer(monkeypatch):
    made = Trainer()
    monkeypatch.setattr("direp.program.record.record_on", made)
    return made
