"""Sheets bound into one file, which needs nothing but a browser."""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ...arithmetic import at_least
from ...runs import plain
from ..folders import FOREIGN
from .charts import charts_of
from .sheet import Sheet

_SCRIPTS = ("charts.js", "network.js", "player.js", "paint.js")
_MOST_PLAYED = 1_900_000  # characters of networks in one page


def page_of(sheets: Sequence[Sheet]) -> str:
    """One HTML file with all of it in: no request goes out, and what a browser may load is forbidden beside that."""
    assets = files("direp.program.page") / "assets"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((assets / "page.html").read_text("utf-8"))
    players = _players(sheets)
    charts: dict[str, Any] = {str(k): sheet.charts for k, sheet in enumerate(sheets, 1)}
    if len(sheets) > 1:
        charts["together"] = charts_of({sheet.name: sheet.history for sheet in sheets})
    return template.render(
        title=_title(sheets), subtitle=sheets[0].subtitle if len(sheets) == 1 else f"{len(sheets)} runs side by side",
        sheets=sheets, comparison=_comparison(sheets),
        style=Markup((assets / "page.css").read_text("utf-8")),
        script=Markup("\n".join((assets / name).read_text("utf-8") for name in _SCRIPTS)),
        data=_embedded({"charts": charts, "players": players}),
    )  # fmt: skip


def _embedded(data: Any) -> Markup:
    """JSON that ends no script and begins no comment."""
    text = json.dumps(plain(data), separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _players(sheets: Sequence[Sheet]) -> dict[str, Any]:
    """Networks by the number of their sheet, as many as there is room for: of the others their sheet says so."""
    players, used = {}, 0
    for k, sheet in enumerate(sheets, 1):
        if sheet.player is not None:
            size = len(json.dumps(plain(sheet.player)))
            if used + size > _MOST_PLAYED:
                sheet.player = None
                alone = "; direp report of this run alone has it" if size <= _MOST_PLAYED else ""
                sheet.unplayable = f"the page would become too large{alone}"
            else:
                players[str(k)], used = sheet.player, used + size
    return players


def _title(sheets: Sequence[Sheet]) -> str:
    names = [sheet.name for sheet in sheets]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


_COLUMNS = ("seeds", "epochs", "validation right", "test right", "test loss", "solved", "settles", "unsettled")


def _comparison(sheets: Sequence[Sheet]) -> dict[str, Any]:
    """A row a run, and the settings in which they differ."""
    rows = [{"name": sheet.name, "cells": [_cell(sheet.summary, column) for column in _COLUMNS]} for sheet in sheets]
    kept = [k for k in range(len(_COLUMNS)) if any(row["cells"][k] != "–" for row in rows)]
    for row in rows:
        row["cells"] = [row["cells"][k] for k in kept]
    told = [{name: value for name, value, _ in sheet.settings} for sheet in sheets if sheet.settings]
    values = {n: dict.fromkeys(each.get(n, "none") for each in told) for n in dict.fromkeys(n for t in told for n in t)}
    apart = "; ".join(f"{name} ({', '.join(several)})" for name, several in values.items() if len(several) > 1)
    return {"columns": [_COLUMNS[k] for k in kept], "rows": rows, "apart": apart}


def _cell(summary: dict[str, Any] | None, column: str) -> str:
    if summary is None:
        return "–"
    try:
        match column:
            case "seeds" | "epochs":
                return f"{summary[column]:,}"
            case "validation right" | "test right":
                share = summary[column.split()[0]]["accuracy"]
                return "–" if share is None or share != share else f"{share:.2%}"
            case "test loss":
                return f"{summary['test']['loss']:.4g}"
            case "solved":
                return "–" if summary["solved"] is None else f"{summary['solved']} of {summary['seeds']}"
            case "settles":
                proof = summary["certificate"]
                rate = f", rate {at_least(proof['rate'])}" if proof["verdict"] == "proved" else ""
                return proof["verdict"] + rate
            case _:
                return f"{summary['settle']['unconverged']:,}"
    except FOREIGN:
        return "–"
