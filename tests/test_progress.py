"""The bar on standard error: in terminals, in files, beside what a user prints; and `direp plot`."""

import contextlib
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from program import call, untold

from direp.runs import Unreadable, read_history
from direp.training import progress as module
from direp.training import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds, as the bar's own clock tells them."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def walk(clock, err, seconds, *, total=50, **more):
    out = io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        progress_bar("digits", total, **more) as step,
    ):
        for k in range(total):
            clock[0] += seconds / total
            step(figures=f"loss {k}")
            if k == total // 2:
                print("a user's own line")
    return out.getvalue(), err.getvalue()


def test_in_a_file_lines_come_more_and_more_rarely(clock):
    """After 10 seconds, 20 more, 40 more and so on, never more than five minutes apart; and one at the end."""
    out, err = walk(clock, io.StringIO(), 100)
    lines = err.splitlines()
    assert out == "a user's own line\n"
    assert [line.split()[2] for line in lines[:-1]] == ["6/50", "17/50", "38/50", "50/50"]
    assert lines[-1] == "direp: digits took 100 s"
    assert "loss 37" in lines[2]
    assert "\x1b" not in err
    assert len(walk(clock, io.StringIO(), 3600)[1].splitlines()) < 20
    assert len(walk(clock, io.StringIO(), 2)[1].splitlines()) == 1


def test_in_a_terminal_the_bar_is_drawn_anew_and_standard_output_stays_its_own(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out, err = walk(clock, Terminal(), 1)
    assert out == "a user's own line\n"
    assert "digits" in err
    assert "\r" in err or "\x1b" in err


def test_a_quiet_bar_says_nothing(clock):
    assert walk(clock, io.StringIO(), 1000, quiet=True) == ("a user's own line\n", "")


def test_a_notebook_without_widgets_is_a_file_though_it_calls_itself_a_terminal(clock, monkeypatch):
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setenv("FORCE_COLOR", "1")
    out, err = walk(clock, Terminal(), 15)
    assert out == "a user's own line\n"
    assert len(err.splitlines()) == 2


def metrics(folder, lines):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(
        "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    )
    return folder


def rows(seeds, epochs=3, **more):
    """As a run folder has them: means, and each of a few seeds."""
    for epoch in range(1, epochs + 1):
        values = {"validation_loss": [1.0 / (epoch + k) for k in range(seeds)], "lowest_margin": [0.1] * seeds}
        row = {"epoch": epoch, **{name: float(np.mean(each)) for name, each in values.items()}, **more}
        yield row | ({"per_seed": values} if seeds > 1 else {})


def test_plot_draws_what_runs_have_and_names_what_is_missing(tmp_path):
    one = metrics(tmp_path / "one", rows(1, validation_accuracy=0.5))
    few = metrics(tmp_path / "a" / "same", rows(3, validation_accuracy=None))
    other = metrics(tmp_path / "b" / "same", rows(1, 5))
    out_folder = tmp_path / "plot"
    code, out, err = call("plot", one, few, other, "--out", out_folder, "--format", "png", "svg", "pdf", drawn=True)
    assert code == 0
    files = sorted(path.name for path in out_folder.iterdir())
    assert files == [f"learning_curves.{kind}" for kind in ("pdf", "png", "svg")]
    assert all(path.stat().st_size > 5000 for path in out_folder.iterdir())
    assert out.splitlines()[0] == str(out_folder / "learning_curves.png")
    assert err == f"direp: not measured, and so not drawn: validation accuracy of {few}, {other}\n"
    np.testing.assert_allclose(read_history(few)["validation_loss"][0], [1, 1 / 2, 1 / 3])


def test_plot_as_json(tmp_path):
    one = metrics(tmp_path / "one", rows(2))
    code, out, _ = call("plot", one, one / "metrics.jsonl", "--json", "--quiet", "--out", tmp_path / "plot")
    document = json.loads(out)
    assert (code, list(document)) == (0, ["runs", "files", "missing"])
    assert untold("plot", document) == []
    assert len(document["runs"]) == 2
    assert document["missing"]["validation accuracy"] == list(document["runs"])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "holds no epoch"),
        (['{"epoch": 1, "loss": 1}', '{"epo'], "line 2 is no epoch"),
        (['{"epoch": 1, "loss": "high"}'], "line 1 is no epoch"),
        (['{"loss": 1}'], "line 1"),
        (["[]"], "line 1"),
        (['{"epoch": 1, "loss": 1}', '{"epoch": 2, "loss": [1, 2]}'], "line 2"),
        (['{"epoch": 1, "loss": 1}', '{"epoch": 2, "accuracy": 1}'], "line 2"),
        (['{"epoch": 1, "per_seed": 3}'], "line 1"),
        (['{"epoch": 2, "loss": 1}'], "of epoch 2, not 1: a line is missing"),
        (['{"epoch": 1, "loss": 1}', '{"epoch": 1, "loss": 1}'], "of epoch 1, not 2: a line is missing or there twice"),
    ],
)
def test_damaged_metrics_are_one_line_and_exit_3(tmp_path, lines, why):
    folder = metrics(tmp_path / "run", lines)
    with pytest.raises(Unreadable, match=why):
        read_history(folder)
    code, out, err = call("plot", folder, "--out", tmp_path / "plot")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert why in err
    assert not (tmp_path / "plot").exists()


def test_wrong_use_of_plot():
    assert call("plot")[0] == 2
    assert call("plot", "nowhere")[0] == 3
    code, _, err = call("plot", "nowhere", "--format", "gif")
    assert (code, "'png', 'svg', 'pdf'" in err) == (2, True)
