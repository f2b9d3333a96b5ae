"""Parts of a user's own in proofs: read or refused by name, and a part of the campaign of `campaigns/user_made.py`."""

import importlib

import equinox as eqx
import numpy as np
import pytest
from campaigns import user_made
from cases import data, network

import direp

activation_module = importlib.import_module("direp.model.activation")


class Quartic(direp.rules.AbstractCost):
    """A third cost."""

    honest: bool = eqx.field(static=True, default=True)
    curvature = 3.0

    def value(self, rate, y):
        return 0.25 * ((rate - y) ** 4).sum(-1) + 0.5 * ((rate - y) ** 2).sum(-1)

    def gradient(self, rate, y):
        return (rate - y) ** 3 * (1 if self.honest else 2) + rate - y

    def enclose(self, rate, y):
        return (rate - y) ** 3 + rate - y, np.diag(3 * (rate - y) ** 2 + 1)

    def feedback(self, beta, slope, ratio):
        return np.full_like(ratio, np.inf if beta < 0 else 0.0)


class Silent(Quartic):
    def enclose(self, rate, y):
        raise NotImplementedError("no balls")


class Ahead(direp.rules.AbstractNudge):
    """A nudge of a user's own: two phases on the same side."""

    beta: float = 0.2

    @property
    def strengths(self):
        return (self.beta, self.beta / 2)

    def difference(self, free, nudged):
        return (4 * nudged[1] - nudged[0] - 3 * free) / self.beta


def test_a_third_cost_and_a_users_nudge_are_read_or_refused_by_name():
    net = network("rate-tanh", "none")
    x, y = data(net.graph)
    said = direp.certify_learning(net, x, y, direp.Local(0.2), cost=Quartic())
    assert said.verdict == "proved"
    assert "does not cover the cost Quartic" in said.steps[0].note
    with pytest.raises(ValueError, match=r"Quartic.gradient is not the derivative of Quartic.value"):
        direp.certify_learning(net, x, y, direp.Local(0.2), cost=Quartic(honest=False))
    with pytest.raises(ValueError, match=r"Silent.enclose cannot be read"):
        direp.certify_learning(net, x, y, direp.Local(0.2), cost=Silent())
    note = (
        direp.certify(net, nudge=direp.OneSided(0.1), cost=Quartic(), criteria=(direp.LMI(),), starts=0)
        .attempts[0]
        .note
    )
    assert note == "does not cover the nudge of Quartic"
    ahead = direp.certify_learning(net, x, y, direp.Local(Ahead()))
    near = direp.certify_learning(net, x, y, direp.Local(direp.Centred(1e-3)))
    assert ahead.cosine[0] == pytest.approx(near.cosine[0], abs=0.02)


@pytest.mark.usefixtures("_unchecked")
def test_nothing_user_made_is_certified_falsely():
    """A part of `campaigns/user_made.py`."""
    counts, wrong = user_made.campaign(120, seed=1)
    assert wrong == []
    assert counts["lies: slope: refused when made"] > 3
    assert sum(counts[f"proved by {name}"] for name in ("local leak", "rows", "Perron", "symmetric", "LMI")) > 30


@pytest.mark.usefixtures("_unchecked")
def test_the_campaign_notices_bounds_that_are_not_tried(monkeypatch):
    monkeypatch.setattr(activation_module, "refute", lambda activation: None)
    monkeypatch.setattr(user_made, "LIES", ("slope",))
    assert any("certified is" in what for what in user_made.campaign(60, seed=1)[1])
