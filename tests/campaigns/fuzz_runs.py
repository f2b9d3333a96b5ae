"""Specimens of what the program writes: run folders and network files."""

import contextlib
import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import jax
import numpy as np
from fuzz_specimen import GRAPH, Specimen, certify, commands_of, content_of, folders, plain, written
from fuzz_tensors import parted, resealed

import direp
from direp.certificates.convergence import Counterexample
from direp.program.build import Parts, load_task
from direp.program.commands.certify import _history
from direp.program.commands.train import parse_train
from direp.program.graph_file import read_connectome
from direp.program.network_file import load_counterexample, open_network, save_network
from direp.program.run_folder import open_run
from direp.program.settings import Settings
from direp.rules import parameters_of
from direp.runs import read_history, seal

_FEW = 64  # units of networks that are built to see whether what was read can be used


def _run(folder: Path, needs_data: bool | None) -> Any:
    run = open_run(folder, needs_data=needs_data)
    run.settings.check()
    prepared = None if run.preparation is None else run.preparation.to_dict()
    learned = [plain(jax.tree.leaves(parameters_of(rule))) for rule in run.rules]
    return run.settings, [content_of(network) for network in run.networks], learned, prepared, run.best, run.chosen


def _settings(path: Path) -> Any:
    """Settings as `direp train --config` takes them, and what they make if that is small."""
    settings, _, _, data, _ = parse_train(["--config", str(path)])
    settings.check()
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    if sum(settings.hidden) <= _FEW and len(settings.seeds) < 5 and settings.probe < 1000:
        Parts(settings, load_task(settings)).fit()
    return settings, data


def configs(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    found = []
    for run, rows in folders(folder):
        path, held = run / "config.json", run / "weights.safetensors"

        def place(content: bytes, path: Path = path, held: Path = held) -> None:
            """Both files carry the SHA-256 of this very config."""
            try:
                told = json.loads(content)
                told["sha256"] = seal(told)
                header, numbers = parted(held.read_bytes())
                header["__metadata__"]["config"] = told["sha256"]
                path.write_text(json.dumps(told))
                kept = json.dumps(header).encode()
                held.write_bytes(resealed(struct.pack("<Q", len(kept)) + kept + numbers))
            except (ValueError, TypeError, RecursionError):
                path.write_bytes(content)

        for read in (
            lambda run=run: _run(run, False),
            lambda run=run: _run(run, None),
            lambda path=path: _settings(path),
        ):
            found.append(Specimen(path, "json", read, sealed=True, place=place, commands=commands_of(run, rows)))
    return found


def weights(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    found = []
    for run, rows in folders(folder):
        path = run / "weights.safetensors"
        found.append(
            Specimen(
                path,
                "safetensors",
                lambda run=run: _run(run, None),
                sealed=True,
                commands=commands_of(run, rows),
                place=lambda content, path=path: path.write_bytes(resealed(content)),
            )
        )
    return found


def networks(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    rng, found = np.random.default_rng(0), []
    layered, named = direp.Graph.layered([2, 3, 1]), read_connectome(written(folder / "graph.csv", GRAPH)).graph
    for k, (graph, neuron, layout) in enumerate((
        (layered, direp.Rate(direp.activation.tanh, "absolute"), None),
        (named, direp.Projected("signed"), None),
        (layered, direp.Hopfield(direp.activation.sigmoid), direp.Sparse(layered)),
    )):  # fmt: skip
        weight = np.where(graph.adjacency(), rng.normal(0, 1, (graph.units, graph.free)), 0)
        network = direp.Network(graph, neuron, weight, leak=1 + rng.random(graph.free), layout=layout)
        example = Counterexample("two equilibria", rng.random(2), rng.random((2, graph.free)))
        (folder / str(k)).mkdir()
        path = folder / str(k) / "network.safetensors"
        save_network(path, network, example if k == 0 else None)

        def read(path: Path = path) -> Any:
            network, counter = open_network(path)
            assert (load_counterexample(path) is None) == (counter is None)
            return content_of(network), None if counter is None else plain(dataclasses.astuple(counter))

        found.append(
            Specimen(
                path,
                "safetensors",
                read,
                sealed=True,
                commands=(certify(path),),
                place=lambda content, path=path: path.write_bytes(resealed(content)),
            )
        )
    return found


def metrics(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    found = []
    for run, rows in folders(folder)[:2]:
        path = run / "metrics.jsonl"
        for read in (lambda path=path: plain(read_history(path)), lambda path=path: _history(path)):
            found.append(Specimen(path, "jsonl", read, commands=commands_of(run, rows)))
    return found
