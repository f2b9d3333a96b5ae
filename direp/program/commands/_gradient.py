"""What `direp gradient` makes of the figures of several networks: means, and tables for people."""

from typing import Any

import numpy as np

from ...analysis import bootstrap_mean
from ..words import plural
from . import VERDICTS, worst

_FIGURES = ("cosine", "relative_error", "norm_ratio", "angle")


def means(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the networks that have a gradient, with an interval; counts over all networks."""
    rules = {}
    for name in each[0]["rules"]:
        entries = [entry["rules"][name] for entry in each]
        cosines = _known([entry["cosine"] for entry in entries])
        lowest = [
            {"network": entry["network"], **entry["rules"][name]["worst_sample"]}
            for entry in each
            if entry["rules"][name]["worst_sample"] is not None
        ]
        rules[name] = {
            **{figure: _mean([entry[figure] for entry in entries]) for figure in _FIGURES},
            "cosine_interval": bootstrap_mean(cosines),
            "cosine_range": [cosines.min(), cosines.max()] if len(cosines) else None,
            "networks": len(cosines),
            "descends": int((cosines > 0).sum()),
            "worst_sample": min(lowest, key=lambda found: found["cosine"], default=None),
            "unsettled": sum(entry["unsettled"] for entry in entries),
            "groups": {
                group: {figure: _mean([entry["groups"][group][figure] for entry in entries]) for figure in _FIGURES}
                for group in entries[0]["groups"]
            },
        }
        found = each[0]["order"].get(name)
        if found is not None:
            rules[name]["order"] = {kind: found["limit"][kind]["order"] for kind in ("one-sided", "centred")}
        if "certificate" in entries[0]:
            rules[name]["certificate"] = _worst([entry["certificate"] for entry in entries])
    states = [entry["state"] for entry in each]
    state: dict[str, Any] = {
        figure: _mean([one[figure] for one in states]) for figure in states[0] if figure != "rms_weight"
    }
    state["rms_weight"] = {
        group: _mean([one["rms_weight"][group] for one in states]) for group in states[0]["rms_weight"]
    }
    lost = sum(entry["left_out"] for entry in each)
    return {"rules": rules, "state": state, "left_out": lost, "settled": sum(e["used"] for e in each)}


def _worst(certificates: list[dict[str, Any]]) -> dict[str, Any]:
    k = worst(certificates, lambda c: c["verdict"], lambda c: -(180.0 if c["angle"] is None else c["angle"]))
    return {**certificates[k], "counts": {v: sum(c["verdict"] == v for c in certificates) for v in VERDICTS}}


def _known(values: list[Any]) -> np.ndarray:
    known = np.array(values, float)
    return known[np.isfinite(known)]


def _mean(values: list[Any]) -> float | None:
    known = _known(values)
    return float(known.mean()) if len(known) else None


def show(document: dict[str, Any]) -> None:
    """Tables for people, on standard output."""
    count = len(document["per_seed"])
    kind = "trained" if document["at"] == "trained" else "untrained"
    of = (
        f"means over {count} {kind} networks"
        if count > 1
        else f"one {kind} network ({document['per_seed'][0]['network']})"
    )
    print(
        f"{document['task']}: rules against the exact gradient; {plural(document['samples'], 'training sample')}, {of}"
    )
    print(f"nudge of the run: {document['nudge']['run']}; measured: {document['nudge']['measured']}")
    if document["left_out"]:
        print(f"{document['left_out']} of {document['samples'] * count} left out of all rules: unsettled in some phase")
    head = f"\n{'rule':<16} {'cosine':>7} {'(95 %)' if count > 1 else '':<15} {'angle':>7} {'error':>9} {'norm':>9} "
    print(f"{head}{'worst sample':>13}  descends  certificate ({_samples(document)}{', worst' if count > 1 else ''})")
    for name, entry in document["rules"].items():
        print(_line(name, entry, count))
    _show_groups(document)
    _show_orders(document)
    _show_state(document["state"])
    print(f"folder       {document['folder']}")


def _samples(document: dict[str, Any]) -> str:
    few = min([e["certificate"]["samples"] for e in document["rules"].values() if "certificate" in e], default=0)
    return plural(few, "sample")


def _line(name: str, entry: dict[str, Any], count: int) -> str:
    lost = f"; unsettled {entry['unsettled']}" if entry["unsettled"] else ""
    if entry["cosine"] is None:
        why = "nothing settled" if lost else "no estimate" if entry["relative_error"] else "the exact gradient is zero"
        return f"{name:<16} {why}{lost}"
    low, high = entry["cosine_interval"]
    interval = "" if low is None else f"({low:.3f}..{high:.3f})"
    worst = "" if entry["worst_sample"] is None else f"{entry['worst_sample']['cosine']:.4f}"
    proof = entry.get("certificate")
    verdict = "" if proof is None else proof["verdict"]
    if proof is not None and proof["verdict"] == "proved":
        verdict += f", at most {proof['angle']:.3g} deg"
    return (
        f"{name:<16} {entry['cosine']:>7.4f} {interval:<15} {entry['angle']:>7.2f} {entry['relative_error']:>9.2e} "
        f"{entry['norm_ratio']:>9.3g} {worst:>13}  {entry['descends']} of {entry['networks']:<4} {verdict}{lost}"
    )


def _show_groups(document: dict[str, Any]) -> None:
    names = list(next(iter(document["rules"].values()))["groups"])
    if len(names) > 8:
        print("\ncosine by group: see gradient.json and gradient.png")
        return
    width = max(len(name) for name in names) + 2
    print(f"\n{'cosine by group':<16} " + "".join(f"{name:>{width}}" for name in names))
    for rule, entry in document["rules"].items():
        values = [entry["groups"][name]["cosine"] for name in names]
        print(f"{rule:<16} " + "".join(f"{'-' if v is None else f'{v:.4f}':>{width}}" for v in values))


def _show_orders(document: dict[str, Any]) -> None:
    """Slopes of the first network: against the own limit, and against the exact gradient where the rule reaches it."""
    if document["order"]:
        print(f"\norder in beta ({document['per_seed'][0]['network']}; 1 and 2 are expected)")
    for name, found in document["order"].items():
        parts = []
        for against, end in (("limit", "its own limit"), ("exact", "the exact gradient")):
            if against in found:
                slopes = {kind: found[against][kind]["order"] for kind in ("one-sided", "centred")}
                shown = [f"{kind} {'not clear' if n is None else f'{n:.2f}'}" for kind, n in slopes.items()]
                parts.append(f"to {end} {', '.join(shown)}")
        print(f"{name:<16} {'; '.join(parts)}")


def _show_state(state: dict[str, Any]) -> None:
    sizes = ", ".join(f"{group} {size:.3g}" for group, size in state["rms_weight"].items())
    print(f"\nweights      {sizes} (root mean square)")
    for name in ("hidden", "outputs"):
        if state[f"without_gradient_{name}"] is not None:
            print(
                f"{name:<12} respond by {state[f'mean_response_{name}']:.2g} in the mean, "
                f"{state[f'below_tolerance_{name}']:.0%} of them less than the tolerance of training; "
                f"{state[f'without_gradient_{name}']:.1%} saturated, without a gradient"
            )
