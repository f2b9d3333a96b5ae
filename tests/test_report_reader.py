"""A report page as its readers meet it: colours, keys, narrow screens, many runs and large networks."""

import re
from importlib.resources import files

import jax
import numpy as np

import direp
from direp.program.page import Sheet, page_of
from direp.program.page.charts import charts_of
from direp.program.page.player import player_of


def test_lines_of_a_page_can_be_told_apart_by_everyone():
    """By eyes without red or green cones too (Machado et al. 2009), and from the ground that they are drawn on."""
    css = (files("direp.program.page") / "assets/page.css").read_text("utf-8")
    seen_as = np.array([
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ])  # fmt: skip
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])

    def linear(name):
        rgb = np.array([[int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)] for code in name])
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)

    schemes = [re.findall(r"--c\d: #(\w{6})", part) for part in css.split("prefers-color-scheme: dark")]
    grounds = re.findall(r"--card: #(\w{6})", css)
    for colours, ground in zip(schemes, grounds, strict=True):
        assert len(colours) == 8
        xyz = np.clip(linear(colours) @ np.swapaxes(seen_as, 1, 2), 0, 1) @ to_xyz.T / [0.9505, 1, 1.089]
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        lab = np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)
        apart = np.linalg.norm(lab[:, :, None] - lab[:, None], axis=-1)[:, *np.triu_indices(8, 1)]
        assert apart.min() > 14
        bright = np.sort(np.stack(np.broadcast_arrays(*(linear(c) @ to_xyz[1] for c in (colours, [ground])))), 0)
        assert ((bright[1] + 0.05) / (bright[0] + 0.05)).min() >= 3


def test_many_runs_are_told_apart():
    """The ninth line has a colour that there is, and another style than the first."""
    histories = {f"run {k}": {"validation_loss": np.ones((3, 1))} for k in range(9)}
    looks = [(series["colour"], series["style"]) for series in charts_of(histories)[0]["series"]]
    assert looks[8] == (0, "dashed")
    assert len(set(looks)) == 9


def test_every_slider_has_its_own_name(opened, tmp_path):
    panels = charts_of({"run": {"loss": np.ones((3, 1))}})
    path = tmp_path / "page.html"
    path.write_text(page_of([Sheet("one", charts=panels), Sheet("two", charts=panels)]), encoding="utf-8")
    told = opened(
        path,
        """() => ({ids: [...document.querySelectorAll("[id]")].map((e) => e.id),
        names: [...document.querySelectorAll("input[type=range]")].map((e) => e.labels[0].textContent)})""",
    )
    assert len(set(told["ids"])) == len(told["ids"])
    assert told["names"] == ["Epoch ", "Epoch "]


def pictured(kind, outputs, rule, size=100):
    """A network of images for a player, and a task of it."""
    rng = np.random.default_rng(0)
    samples = direp.tasks.Samples(rng.uniform(size=(3, size)), rng.uniform(size=(3, outputs)))
    task = direp.tasks.Task("images", samples, samples, samples, kind=kind)
    network = direp.Network(direp.Graph.layered([size, 4, outputs]), direp.Projected(), key=jax.random.key(0))
    return player_of(network, rule, direp.SquaredError(), task)


def test_pixels_and_targets_are_changed_without_a_mouse(opened, tmp_path):
    """A regression with a nudge that pushes away: its strength is shown as it is."""
    path = tmp_path / "page.html"
    path.write_text(
        page_of([Sheet("images", player=pictured("regression", 2, direp.Local(beta=-0.25)))]), encoding="utf-8"
    )
    told = opened(
        path,
        """() => {
        const player = PLAYERS[0], {units} = player.parts;
        const press = (key) => units.dispatchEvent(new KeyboardEvent("keydown", {key}));
        const beta = Number(player.parts.beta.value), x = [...player.x], y = [...player.y];
        for (const key of ["ArrowRight", "ArrowDown", "Enter"]) press(key);
        const changed = player.x.map((v, k) => v !== x[k] ? k : -1).filter((k) => k >= 0);
        const field = player.parts.target.querySelectorAll("input")[1];
        field.value = 0.75;
        field.dispatchEvent(new Event("input"));
        return {beta, run: player.beta, changed, y: player.y, kept: y[0]};
    }""",
    )
    assert told["beta"] == told["run"] == -0.25
    assert told["changed"] == [10]
    assert told["y"] == [told["kept"], 0.75]


def test_large_networks_are_played_and_drawn(opened, tmp_path):
    """Near the largest that fit, after a long way to rest, on a narrow screen."""
    path = tmp_path / "page.html"
    path.write_text(
        page_of([Sheet("images", player=pictured("regression", 60, direp.Local(beta=0.3)))]), encoding="utf-8"
    )
    told = opened(
        path,
        """() => {
        const player = PLAYERS[0], rates = new Array(60).fill(0.5);
        player.trace[0].points = Array.from({length: 4000}, (_, k) => ({time: k, rates, residual: 1 / (k + 1)}));
        player.paint();
        return {wide: document.documentElement.scrollWidth, most: largest(new Float64Array(3e5).fill(-2)),
            noise: withoutNoise(new Float64Array(3e5).fill(1)).length};
    }""",
        viewport={"width": 360, "height": 800},
    )
    assert told["wide"] <= 360
    assert (told["most"], told["noise"]) == (2, 300_000)


def test_a_network_too_large_for_a_page_is_not_promised_elsewhere():
    player = {"names": ["x" * 2_000_000]}
    sheet = Sheet("large", player=player)
    assert "the page would become too large." in page_of([sheet])
    half = [Sheet(name, player={"names": ["x" * 1_000_000], "note": ""}) for name in "ab"]
    page_of(half)
    assert "of this run alone" in half[1].unplayable
