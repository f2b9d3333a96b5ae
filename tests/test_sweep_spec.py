"""What a sweep asks for: grids are products, draws keep what they were, a trial's name is its settings; and what cannot
be is told in one line."""

import dataclasses
import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import call

from direp.program.catalogue import WrongUse
from direp.program.presets import preset
from direp.program.settings import Settings
from direp.program.sweep.run import _admit, blocks_of, opened
from direp.program.sweep.sampling import points, rounds
from direp.program.sweep.spec import read_spec, spec_of
from direp.program.sweep.trials import name_of, settings_of
from direp.program.sweep.values import Range
from direp.runs import Unreadable

NUMBERS = st.floats(1e-3, 1e3).map(lambda value: float(f"{value:.3g}"))
GRIDS = st.fixed_dictionaries(
    {},
    optional={
        "beta": st.lists(NUMBERS, min_size=1, max_size=3),
        "epochs": st.lists(st.integers(1, 50), min_size=1, max_size=3),
        "hidden": st.lists(st.integers(1, 9) | st.lists(st.integers(1, 9), min_size=1), min_size=1, max_size=2),
        "margin": st.lists(st.just("none") | NUMBERS, min_size=1, max_size=2),
        "rule": st.lists(st.sampled_from(["local", "adjoint", "asym-ep"]), min_size=1, max_size=2),
        "weight_bounds": st.just([[-1, 1], [0, 0.5]]),
        "seeds": st.just("0..2") | st.just([0, 3]),
    },
)


@given(GRIDS)
def test_a_grid_is_the_product_of_its_values_each_once(grid):
    spec = spec_of({"task": "xor", "grid": grid})
    found = [*points(spec)]
    expected = [dict(zip(spec.grid, values, strict=True)) for values in itertools.product(*spec.grid.values())]
    assert found == expected
    for name, values in grid.items():
        listed = ["0", "1", "2"] if values == "0..2" else values
        assert 1 <= len(spec.grid[name]) <= len(listed)


@given(GRIDS, st.integers(1, 4))
def test_a_spec_is_read_back_from_what_is_kept_of_it(grid, trials):
    drawn = {"trials": trials, "leak": {"low": 0.1, "high": 2, "log": True}, "nudge": ["one-sided", "centred"]}
    seeds = {} if "seeds" in grid else {"seeds": "3..5"}
    spec = spec_of({"task": "xor", "preset": "small", **seeds, "grid": grid, "random": drawn})
    assert spec_of(json.loads(json.dumps(spec.to_dict()))) == spec


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_more_draws_and_other_settings_beside_leave_draws_as_they_were(few, more, seed):
    beta = {"low": 0.01, "high": 10, "log": True}
    random = {"seed": seed, "beta": beta, "hidden": {"low": 2, "high": 30}}
    one = [*points(spec_of({"task": "xor", "random": {**random, "trials": few}}))]
    other = [*points(spec_of({"task": "xor", "random": {**random, "trials": few + more, "nudge": ["centred"]}}))]
    assert [{name: point[name] for name in ("beta", "hidden")} for point in other[:few]] == one
    assert all(0.01 <= point["beta"] <= 10 and 2 <= point["hidden"] <= 30 for point in other)
    assert all(isinstance(point["hidden"], int) for point in other)


@given(st.floats(0, 1), st.integers(1, 5), st.integers(1, 50), st.booleans())
def test_ranges_hold_what_is_drawn_and_reach_both_ends(share, low, width, log):
    whole, real = Range(low, low + width, log, True), Range(low / 3, low / 3 + width, log)
    assert low <= whole.at(share) <= low + width
    assert real.low <= real.at(share) <= real.high
    assert (whole.at(0), whole.at(1)) == (low, low + width)
    assert real.at(0) == pytest.approx(real.low, rel=1e-3)


SETTINGS = st.builds(
    Settings, beta=NUMBERS, epochs=st.integers(1, 99), hidden=st.lists(st.integers(1, 9), min_size=1).map(tuple),
    beta_end=st.none() | NUMBERS, seeds=st.sampled_from(["0", "0..4"]), dale=st.booleans(),
)  # fmt: skip


@given(SETTINGS, SETTINGS)
def test_trials_have_one_name_if_and_only_if_their_settings_are_equal(one, other):
    assert (name_of(one) == name_of(other)) == (one == other)
    assert name_of(settings_of(json.loads(json.dumps(one.to_dict())))) == name_of(one)
    shuffled = dict(reversed(one.to_dict().items()))
    assert name_of(settings_of(shuffled)) == name_of(one)


def test_whole_numbers_are_strengths_too(tmp_path):
    trials = [
        next(rounds(spec_of({"task": "xor", "grid": grid}), tmp_path))
        for grid in ({"beta": [6], "hidden": [5]}, {"beta": [6.0, 6], "hidden": [[5]]})
    ]
    assert [trial.name for trial in trials[0]] == [trial.name for trial in trials[1]]
    assert trials[0][0].settings == dataclasses.replace(preset("xor"), beta=6.0, hidden=(5,), lanes=16)


def test_a_trial_of_a_file_is_named_by_its_content_wherever_it_lies(tmp_path):
    names = []
    for folder, text in (("a", "x,y\n1,2\n"), ("b", "x,y\n1,2\n"), ("c", "x,y\n1,3\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.csv").write_text(text)
        (tmp_path / folder / "spec.toml").write_text('task = "data.csv"\nsettings = {target = "y"}\n')
        spec = read_spec(tmp_path / folder / "spec.toml")
        assert spec.task == str(tmp_path / folder / "data.csv")
        assert spec.settings == {"target": ("y",)}
        names.append(name_of(spec.base()))
    assert names[0] == names[1] != names[2]


def test_own_parts_are_imported_only_where_that_is_allowed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_swept.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "spec.toml").write_text('task = "xor"\n[grid]\nrule = ["local", "mine_swept:Rule"]\n')
    with pytest.raises(Unreadable, match="imported only with --allow-import"):
        opened(tmp_path / "spec.toml", None, False)
    spec, folder = opened("spec.toml", None, True)
    assert folder == tmp_path / "runs" / "sweep-spec"
    first = [name_of(spec.at(spec.base(), point)) for point in points(spec)]
    (tmp_path / "mine_swept.py").write_text("raise RuntimeError('changed')")
    again = [name_of(spec.at(spec.base(), point)) for point in points(spec)]
    assert first[0] == again[0]
    assert first[1] != again[1]


def test_what_carries_deviations_back_goes_with_the_rule():
    spec = spec_of({"task": "digits", "preset": "random", "grid": {"rule": ["asym-ep", "local"]}})
    assert [spec.at(spec.base(), point).feedback for point in points(spec)] == ["learned", "shared"]
    spec = spec_of({"task": "digits", "preset": "random", "grid": {"feedback": ["fixed"], "rule": ["dyadic"]}})
    assert [spec.at(spec.base(), point).feedback for point in points(spec)] == ["fixed"]


def test_blocks_hold_what_may_share_a_program(tmp_path):
    grid = {"hidden": [3, 5], "beta": [1, 2, 4], "seeds": "0..9"}
    for task, sizes in (("digits", (15, 4, 1)), ("xor", (16, 16, 16))):  # those that have lanes fill them
        trials = next(rounds(spec_of({"task": task, "grid": grid}), tmp_path))
        for count, size in zip((1, 4, 100), sizes, strict=True):
            blocks = [*blocks_of(trials, count)]
            assert sorted(trial.name for block in blocks for trial in block) == sorted(trial.name for trial in trials)
            for block in blocks:
                assert len({trial.settings.hidden for trial in block}) == 1
            assert max(map(len, blocks)) == size


def test_a_round_whose_parts_take_nothing_of_what_is_swept_is_admitted_where_parts_are_swept_too(tmp_path):
    drawn = {"trials": 12, "neuron": ["projected", "rate"], "activation": ["tanh", "sigmoid"]}
    spec = spec_of({"task": "xor", "random": drawn, "settings": {"outflow": "none"}})
    trials = [trial for trial in next(rounds(spec, tmp_path)) if trial.settings.neuron == "projected"]
    assert len(trials) > 1
    _admit(trials, tmp_path, first=True, retry=False, spec=spec)
    assert (tmp_path / "spec.json").exists()


def test_lanes_are_those_of_the_settings_alone_unless_they_are_given(tmp_path):
    def lanes(**spec):
        return {trial.settings.lanes for trial in next(rounds(spec_of({"preset": "small", **spec}), tmp_path))}

    grid = {"beta": [1, 2]}
    assert lanes(task="xor", grid=grid) == lanes(task="xor", grid={"beta": [1]}) == {16}
    assert lanes(task="and", seeds="0..4", grid=grid) == {15}
    assert lanes(task="xor", seeds="0..99", grid=grid) == {100}
    assert lanes(task="xor", settings={"hidden": 65}, grid=grid) == {None}
    assert lanes(task="xor", settings={"lanes": 3}, grid=grid) == {3}
    assert lanes(task="xor", settings={"lanes": "none"}, grid=grid) == {None}
    assert lanes(task="digits", preset="default", grid=grid) == {None}


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", 2, "a sweep needs a task"),
        ("task = 3", 2, "a sweep needs a task"),
        ("task = 'xorr'", 2, "did you mean 'xor'"),
        ("task = 'xor'\n[gird]\nbeta = [1]", 2, "key 'gird' is unknown: did you mean 'grid'"),
        ("task = 'xor'\nbeta = 1", 2, "a setting goes into [settings]"),
        ("task = 'xor'\n[grid]\nbetta = [1]", 2, "[grid] setting 'betta' is unknown: did you mean 'beta'"),
        ("task = 'xor'\n[settings]\nlearning-rate = 1", 2, "did you mean 'learning_rate'"),
        ("task = 'xor'\n[settings]\nseeds = 1", 2, "give seeds above all tables"),
        ("task = 'xor'\n[settings]\nbeta = [1, 2]", 2, "[settings] beta is (1, 2); needed is something like 1.0"),
        ("task = 'xor'\nsettings = 3", 2, "[settings] is 3; needed is a table"),
        ("task = 'xor'\npreset = 'smal'", 2, "did you mean 'small'"),
        ("task = 'xor'\npreset = ['small']", 2, "needed is a name"),
        ("task = 'xor'\nobjective = 'test_accuracy'", 2, "objective 'test_accuracy' is unknown"),
        ("task = 'xor'\nseeds = '4..1'", 2, "count upwards"),
        ("task = 'xor'\nseeds = '0..1'\n[grid]\nseeds = [0]", 2, "seeds is given twice"),
        ("task = 'xor'\n[settings]\nbeta = 1\n[grid]\nbeta = [1]", 2, "beta is given twice"),
        ("task = 'xor'\n[grid]\nbeta = 1", 2, "needed is a list of values"),
        ("task = 'xor'\n[grid]\nbeta = []", 2, "needed is a list of values"),
        ("task = 'xor'\n[grid]\nbeta = ['big']", 2, "[grid] beta is 'big'"),
        ("task = 'xor'\n[grid]\nrule = ['lokal']", 2, "did you mean 'local'"),
        ("task = 'xor'\n[grid]\nhidden = '0..3'", 2, "needed is a list of values"),
        ("task = 'xor'\n[random]\nbeta = [1]", 2, "[random] needs a number of trials"),
        ("task = 'xor'\n[random]\ntrials = 0\nbeta = [1]", 2, "trials is 0; needed is a whole number from 1 on"),
        ("task = 'xor'\n[random]\ntrials = 3", 2, "[random] draws nothing"),
        ("task = 'xor'\n[random]\ntrials = 3\nsampler = 'tpe'\nbeta = [1]", 2, "setting 'sampler' is unknown"),
        ("task = 'xor'\n[random]\ntrials = 3\nbeta = {low = 3, high = 1}", 2, "needed are a low and a higher high"),
        ("task = 'xor'\n[random]\ntrials = 3\nbeta = {low = 1, hihg = 3}", 2, "did you mean 'high'"),
        ("task = 'xor'\n[random]\ntrials = 3\nbeta = {low = 0, high = 1, log = true}", 2, "give a low above 0"),
        ("task = 'xor'\n[random]\ntrials = 3\nrule = {low = 0, high = 1}", 2, "rule has no range"),
        ("task = 'xor'\n[random]\ntrials = 3\nstart = {low = 0, high = 1}", 2, "start has no range"),
        ("task = 'xor'\n[random]\ntrials = 3\nepochs = {low = 0.5, high = 1}", 2, "epochs is"),
        ("task = 'xor'\n[search]\ntrials = 3\nsampler = 'tep'\nbeta = [1, 2]", 2, "did you mean 'tpe'"),
        ("task = 'xor'\n[search]\ntrials = 3\nbeta = [1, 2]\n[grid]\nleak = [1]", 2, "leave out [grid] and [random]"),
        ("task = 'xor'\n[grid]\nseeds = '0..999999'", 2, "it names 1,000,000 trials"),
        ("task = 'xor'\n[settings]\nepochs = 0", 2, "none of its trials (1) can be trained: --epochs 0"),
        ("task = 'xor'\n[grid]\nactivation = ['tanh', 'relu']", 2, "--activation tanh is of --neuron hopfield or rate"),
        ("task = 'xor'\n[grid]\nbeta = [0]", 2, "none of its trials (1) can be trained: --beta 0 is no nudge"),
        ("task = 'nowhere.csv'\nsettings = {target = 'y'}", 3, "nowhere.csv"),
        ("task = xor", 3, "is no readable TOML"),
    ],
)
def test_a_wrong_spec_is_one_line_and_nothing_is_begun(text, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.toml").write_text(text)
    found, out, err = call("sweep", "spec.toml", "--quiet")
    assert (found, out) == (code, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "sweep needs a spec"),
        (("nowhere.toml",), 3, "nowhere.toml does not exist"),
        ((".",), 3, "spec.json does not exist"),
        (("spec.toml", "--workers", "-1"), 2, "--workers -1 is out of range"),
        (("spec.toml", "--workers", "2", "--scheduler", "x"), 2, "give one of them"),
        (("spec.toml", "--out", "full"), 2, "already holds something that is no sweep"),
        (("spec.toml", "--stauts"), 2, "perhaps you meant --status"),
    ],
)
def test_wrong_use_is_one_line(arguments, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.toml").write_text("task = 'xor'")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    found, out, err = call("sweep", *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_mapping_needs_a_folder():
    with pytest.raises(WrongUse, match="needs a folder"):
        opened({"task": "xor"}, None, False)


def test_the_specs_of_the_documentation_are_read(tmp_path):
    text = (Path(__file__).parent.parent / "docs" / "howto" / "sweeps.md").read_text()
    found = []
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        (tmp_path / "sweep.toml").write_text(block)
        spec = read_spec(tmp_path / "sweep.toml")
        trials = next(rounds(spec, tmp_path))
        for trial in trials:
            trial.settings.check()
        found.append(len(trials))
    assert found == [8, 30]
