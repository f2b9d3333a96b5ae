"""`direp compare`: rules trained side by side, paired by seed, with equal budgets."""

import dataclasses
import sys
import time
import typing
from pathlib import Path
from typing import Any

from ...runs import write, write_json
from .. import catalogue, device
from ..folders import fresh_folder, new_folder, stamped
from ..presets import preset, suited
from ..record import How, Outcome, record
from ..settings import TAKEN_BY, Settings, WrongUse, check_task, is_file, nearest, parse_seeds, refuse_untaken
from ..words import plural
from . import DIVERGED, OK, Output, Stop, first, option, parse, typed, values

# What all rules share, so that a pair of seeds differs by its rule alone.
SHARED = ("task", "seeds", "rule", "split", "scale", "probe")


@dataclasses.dataclass(frozen=True)
class Compare:
    """Train TASK by several rules on the same seeds: same initial weights, order of samples and number of updates.

    A rule is one of direp train --rule, your own (module:Name) too. It may bring settings of its own, after colons:
    local, local:beta=0.1, local:margin=none:leak=1; or begin from another preset: preset=deep-2020. The first one is
    what the others are compared with.
    """

    settings: Settings
    output: Output
    rules: tuple[str, ...] = ("local", "asym-ep", "adjoint")
    """What to compare."""
    preset: str = "default"
    """Named settings to begin with, as in direp train."""


def variant(text: str, base: Settings) -> Settings:
    """The settings that a rule such as `local:beta=0.1` or `preset=deep-2020` asks for."""
    rule, *rest = text.split(":")
    if rule not in catalogue.names("rule") and rest and "=" not in rest[0] and not rule.startswith("preset="):
        rule, *rest = f"{rule}:{rest[0]}", *rest[1:]  # module:Name
    if rule.startswith("preset="):
        own = preset(base.task, rule.removeprefix("preset="))
        settings = dataclasses.replace(own, seeds=base.seeds, split=base.split, probe=base.probe)
    else:
        catalogue.check("rule", rule, "--rules", more=", preset=NAME")
        # What carries deviations back belongs to the rule.
        feedback = base.feedback if rule == base.rule else Settings.feedback
        settings = dataclasses.replace(base, rule=rule, feedback=feedback)
    names = [field.name for field in dataclasses.fields(Settings) if field.name not in SHARED]
    given: dict[str, Any] = {}
    for item in rest:
        name, equals, value = item.partition("=")
        name = name.replace("-", "_")
        if not equals:
            raise WrongUse(f"--rules {text}: {item!r} is no setting=value, such as beta=0.1")
        if name in SHARED:
            raise WrongUse(f"--rules {text}: {name} is the same for all rules; what differs goes after the rule's name")
        if name not in names:
            raise WrongUse(nearest(f"--rules {text}: setting", name, names))
        if name in given:
            raise WrongUse(f"--rules {text}: {name} is given twice: give it once, or name two rules")
        given[name] = _value(text, name, value)
    settings = dataclasses.replace(settings, **given)
    try:
        settings.check()
        refuse_untaken(given, settings)
    except WrongUse as error:
        raise WrongUse(f"--rules {text}: {error}") from None
    return settings


def _value(text: str, name: str, value: str) -> Any:
    hint: Any = typing.get_type_hints(Settings)[name]
    kind = getattr(hint, "__name__", str(hint)) if isinstance(hint, type) else str(hint)
    try:
        if value.lower() == "none" and "None" in kind:
            return None
        if "tuple[int" in kind or "tuple[float" in kind:
            return tuple((int if "int" in kind else float)(part) for part in value.split(","))
        if "bool" in kind:
            return {"true": True, "false": False}[value.lower()]
        return int(value) if "int" in kind else float(value) if "float" in kind else value
    except (ValueError, KeyError):
        needed = "numbers with commas, such as 64,32" if "tuple" in kind else kind.replace("bool", "true or false")
        raise WrongUse(f"--rules {text}: {name}={value!r} does not fit; needed is {needed}") from None


def compare(arguments: list[str]) -> int:
    """The command: exit code 0 if every rule was trained, 4 if one failed on every seed, 130/143 interrupted."""
    asked = _parse(arguments)
    settings, output = asked.settings, asked.output
    variants = {text: variant(text, settings) for text in dict.fromkeys(asked.rules)}
    if not variants:
        raise WrongUse("--rules is empty: name one or more, such as local asym-ep adjoint")
    refuse_untaken([name for name in TAKEN_BY if typed(arguments, name)], *variants.values())
    if len({v.precision for v in variants.values()}) > 1:
        variants = {text: dataclasses.replace(v, precision="float64") for text, v in variants.items()}
    _check(variants)
    begun = time.perf_counter()
    label = (Path(settings.task).stem if is_file(settings.task) else settings.task).replace(":", "-").rpartition("/")[2]
    folder = new_folder(fresh_folder(output.out, stamped("compare", label)))
    outcomes: dict[str, Outcome] = {}
    interrupted = False
    for k, (text, chosen) in enumerate(variants.items(), 1):
        name = "".join(c if c.isalnum() or c in "-.=" else "_" for c in text)
        label = f"{text} ({k} of {len(variants)})"
        try:
            where = folder / f"{k}-{name}"
            outcomes[text] = record(chosen, where, How(show=not output.quiet, label=label, formats=output.format))
        except KeyboardInterrupt:
            interrupted = True
            break
        if outcomes[text].run.status == "interrupted":
            del outcomes[text]
            interrupted = True
        interrupted = interrupted or Stop.asked()  # in the last epoch of this rule, or after it
        if interrupted:
            break
    document = _document(variants, outcomes, folder)
    _write(document, outcomes, folder, output.format)
    if output.json:
        print((folder / "compare.json").read_text(), end="")
    else:
        print((folder / "table.md").read_text(), end="")
        print(f"\ntime    {time.perf_counter() - begun:.1f} s\nfolder  {folder}")
    if interrupted:
        print(
            f"direp: interrupted; {len(outcomes)} of {plural(len(variants), 'rule')} are in {folder}", file=sys.stderr
        )
        return Stop.code()
    failed = [text for text, outcome in outcomes.items() if outcome.run.status == "failed"]
    if failed:
        print(f"direp: every seed of {', '.join(failed)} diverged or never settled; see the table", file=sys.stderr)
    return DIVERGED if failed else OK


def _parse(arguments: list[str]) -> Compare:
    task, rest = first(
        "compare", arguments, f"a task, before all options: {', '.join(catalogue.names('task'))}, or a file of data"
    )
    if task is not None:
        check_task(task)
    task = task or "xor"
    name = option(rest, "--preset") or suited(task, option(rest, "--graph"), len(values(rest, "--hidden")))
    default = preset(task, name)
    asked = parse("compare TASK", Compare, rest, Compare(default, Output()))
    asked.settings.check()
    if option(rest, "--preset") is None and name != "default" and not asked.output.quiet:
        print(f"direp: settings begin from --preset {name}, which suits the graph", file=sys.stderr)
    return asked


def _check(variants: dict[str, Settings]) -> None:
    """Refuse before the first training what a later one would be refused for."""
    first = next(iter(variants.values()))
    double = any(chosen.precision == "float64" for chosen in variants.values())
    device.configure(double=double, lanes=len(parse_seeds(first.seeds)), platform=first.device)
    from ..build import Parts, load_task

    task = load_task(first)
    for text, chosen in variants.items():
        try:
            parts = Parts(chosen, task)
            _ = parts.rule, parts.graph
        except ValueError as error:
            raise WrongUse(f"--rules {text}: {error}") from None


def _document(variants: dict[str, Settings], outcomes: dict[str, Outcome], folder: Path) -> dict[str, Any]:
    from ...analysis import figures_of, paired

    rules = {text: figures_of(outcome.run, outcome.summary or {}) for text, outcome in outcomes.items()}
    for text, outcome in outcomes.items():
        size, samples = variants[text].batch_size, len(outcome.run.task.train.x)
        rules[text]["updates"] = len(outcome.run.history.get("loss", ())) * -(-samples // min(size or samples, samples))
        rules[text]["run"] = str(outcome.folder)
    runs = {text: outcome.run for text, outcome in outcomes.items()}
    settings = next(iter(variants.values()))
    return {
        "task": settings.task, "seeds": len(parse_seeds(settings.seeds)), "seed_range": settings.seeds, "rules": rules,
        "paired": paired(runs), "folder": str(folder),
    }  # fmt: skip


def _write(document: dict[str, Any], outcomes: dict[str, Outcome], folder: Path, formats: tuple[str, ...]) -> None:
    from ...analysis import table
    from ...plot.style import save
    from ..figures.compare import compare_figure

    write_json(folder / "compare.json", document)
    write(folder / "table.md", table(document))
    runs = {text: outcome.run for text, outcome in outcomes.items() if outcome.run.history}
    if runs:
        save(compare_figure(document, runs), folder / "compare.png", formats)
