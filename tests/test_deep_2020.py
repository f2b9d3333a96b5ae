"""The published baseline, against a plain NumPy loop that is written from section 7 of the design alone."""

import jax
import numpy as np
import pytest

import direp
from direp.program.build import arguments, load_task
from direp.program.presets import preset
from direp.program.settings import Settings
from direp.training.loop import fit


def plain_epoch(weight, start, x, y, beta=10.0, steps=1000, h=0.05, rate=100.0):
    """One epoch of DEEP 2020 on full states S (inputs, hidden, output), and its states after every step."""
    inputs, count = x.shape[1], len(x)
    state = np.concatenate([x, start], 1)
    lost = weight.sum(1)
    seen, update = [], np.zeros_like(weight)
    for phase in (0, 1):
        for _ in range(steps):
            flow = state @ weight - state * lost
            if phase:
                flow[:, -1] += beta * (y[:, 0] - state[:, -1])
            after = state.copy()
            after[:, inputs:] = np.clip(state[:, inputs:] + h * flow[:, inputs:], 0, 1)
            if phase:
                update += after.T @ (after - state)
            state = after
            seen.append(state)
    weight = weight + rate / (count * steps) * update
    weight[:, :inputs] = 0
    np.fill_diagonal(weight, 0)
    return weight, np.array(seen)


@pytest.mark.parametrize("seed", [0, 1])
def test_states_and_weights_equal_a_plain_loop_over_a_whole_epoch(seed):
    settings = preset("xor", "deep-2020")
    settings = Settings.from_dict({**settings.to_dict(), "seeds": str(seed), "epochs": 1})
    task = load_task(settings)
    built = arguments(settings, task)
    (net,) = built["network"]
    matrix, bias = np.asarray(net.matrix), np.asarray(net.bias)
    assert (np.asarray(net.leak) == 0).all()
    assert 0.02 < matrix[matrix != 0].std() < 0.08

    # The constant unit is the third input of the publication.
    full = np.zeros((9, 9))
    full[:2, 3:], full[2, 3:], full[3:, 3:] = matrix[:2], bias, matrix[2:]
    x = np.concatenate([task.train.x, np.ones((4, 1))], 1)
    # The states from which a run of this seed starts.
    begin = jax.random.fold_in(jax.random.key(seed), 1)
    start = np.asarray(jax.random.uniform(begin, (4, 6), float, 0.0, 0.1))
    wanted, seen = plain_epoch(full, start, x, task.train.y)

    free = direp.settle(net, task.train.x, method=built["method"], stop=built["stop"], state=start)
    assert np.abs(np.asarray(free.state) - seen[999][:, 3:]).max() < 1e-12
    for steps in (1, 10, 333):
        early = direp.settle(net, task.train.x, method=built["method"], stop=direp.Steps(steps), state=start)
        assert np.abs(np.asarray(early.state) - seen[steps - 1][:, 3:]).max() < 1e-12
    said = direp.estimate(
        net, task.train.x, task.train.y, built["rule"], method=built["method"], stop=built["stop"], state=start
    )
    assert np.abs(np.asarray(said.nudged[0].state) - seen[1999][:, 3:]).max() < 1e-12

    run = fit(task=task, **built)
    trained = np.asarray(run.network.matrix)
    assert np.abs(trained[:2] - wanted[:2, 3:]).max() < 1e-12
    assert np.abs(np.asarray(run.network.bias) - wanted[2, 3:]).max() < 1e-12
    assert np.abs(trained[2:] - wanted[3:, 3:]).max() < 1e-12
    assert np.abs(trained - matrix).max() > 1e-3  # it did learn something in that epoch


def test_projected_with_signed_outflow_and_no_leak_is_deep_to_the_last_digit():
    rng = np.random.default_rng(0)
    graph = direp.Graph.complete(3, 5, 1, bias=False)
    # Multiples of 1/64 small enough that sums and products are exact: any order of summation gives the same bits.
    matrix = np.where(graph.adjacency(), rng.integers(-64, 64, (9, 6)) / 64, 0)
    net = direp.Network(graph, direp.Projected(outflow="signed"), matrix, leak=0.0)
    x, state = rng.integers(0, 64, (4, 3)) / 64, rng.integers(0, 64, (4, 6)) / 64
    full = np.concatenate([np.zeros((9, 3)), matrix], 1)
    whole = np.concatenate([x, state], 1)
    published = (whole @ full - whole * full.sum(1))[:, 3:]
    field = net.field(jax.numpy.asarray(x))
    ours = field.flow(jax.numpy.asarray(state), field.drive(jax.numpy.asarray(state)))
    assert (np.asarray(ours) == published).all()


def test_certificate_of_the_baseline_says_why_there_is_none():
    settings = preset("xor", "deep-2020")
    (net,) = arguments(settings, load_task(settings))["network"]
    certificate = direp.certify(net)
    assert certificate.verdict in ("undecided", "refuted")
    assert "singular" in certificate.reason
    # The reason is true: the columns of the Jacobian sum to zero whatever the weights.
    recurrent = np.asarray(net.matrix)[2:]
    jacobian = recurrent.T - np.diag(recurrent.sum(1))
    assert np.abs(jacobian.sum(0)).max() < 1e-12
