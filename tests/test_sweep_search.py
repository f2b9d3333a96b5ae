"""A search draws by what its trials gave, and asks for the same ones however often it was interrupted."""

import numpy as np
import pytest

import direp
from direp.program.sweep import run as sweeps
from direp.program.sweep.spec import spec_of

SEARCH = {
    "task": "digits",
    "search": {
        "trials": 12, "at_once": 3, "beta": {"low": 0.1, "high": 10, "log": True},
        "learning_rate": {"low": 0.01, "high": 0.2}, "hidden": [[8], [8, 8], [4]], "batch_size": {"low": 1, "high": 99},
    },
}  # fmt: skip


def test_a_search_asks_for_the_same_however_often_it_was_interrupted(trainer, tmp_path):
    pytest.importorskip("optuna")
    straight = direp.sweep(SEARCH, tmp_path / "one")
    expected = [entry["trial"] for entry in straight.document["trials"]]
    assert len(expected) == 12
    trainer.trained.clear()

    def interrupts(settings):
        if len(trainer.trained) in stops:
            stops.remove(len(trainer.trained))
            raise KeyboardInterrupt
        return "failed" if settings.beta > 1e9 else "done"

    stops = {1, 4, 5, 9}
    trainer.hook = interrupts
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            direp.sweep(SEARCH, tmp_path / "two")
    found = direp.sweep(SEARCH, tmp_path / "two")
    assert [entry["trial"] for entry in found.document["trials"]] == expected
    assert len(trainer.trained) == 12
    more = {**SEARCH, "search": {**SEARCH["search"], "trials": 15}}
    assert [entry["trial"] for entry in direp.sweep(more, tmp_path / "two").document["trials"]][:12] == expected
    told = sweeps.told(sweeps.status(spec_of({**SEARCH, "search": {**SEARCH["search"], "seed": 1}}), tmp_path / "two"),
                       spec_of(SEARCH))  # fmt: skip
    assert told == "12 trials: 0 done, 0 failed, 0 refused, 0 running, 3 missing, 9 to be drawn"


def test_a_search_finds_what_random_draws_do_not(trainer, tmp_path):
    pytest.importorskip("optuna")
    losses = {}
    for sampler in ("tpe", "random"):
        search = {"trials": 40, "at_once": 4, "sampler": sampler, "beta": {"low": 1e-4, "high": 1e4, "log": True}}
        found = direp.sweep({"task": "digits", "objective": "validation_loss", "search": search}, tmp_path / sampler)
        last = found.document["trials"][20:]
        losses[sampler] = np.median([entry["validation"]["loss"] for entry in last])
    assert losses["tpe"] < 0.5 * losses["random"]
