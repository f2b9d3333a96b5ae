"""What a run folder says of how the run ended."""

from ....runs import holder_of, quoted
from ...words import plural
from ..finding import Finding
from ..symptom import AbstractSymptom


class Unfinished(AbstractSymptom):
    """A run that has not come to its end: it was interrupted, killed, or ended by an error."""

    needs = "folder"
    hides = ("short", "unexplained")

    def look(self, run):
        assert run.path is not None
        state, reason, epoch = (run.status.get(name) for name in ("state", "reason", "epoch"))
        epoch = max(run.epochs, epoch or 0)
        if state in ("done", "failed", "stopped", None):
            return None
        if state == "running" and (holder := holder_of(run.path)):
            cause, remedies = f"it is still being trained, by {holder}", ("wait for it, and ask again",)
        else:
            how = {"running": "the process was killed", "interrupted": "it was interrupted"}
            cause = (
                f"the run never finished: {how.get(state, 'it ended with an error')}{f' ({reason})' if reason else ''}"
            )
            remedies = (f"direp resume {quoted(run.path)}",)
        asked = run.settings.epochs if run.settings is not None else None
        after = plural(epoch, "epoch") if asked is None else f"{epoch:,} of {plural(asked, 'epoch')}"
        return Finding(
            "unfinished", cause, f"status.json says {state}, after {after}", remedies,
            {"state": state, "epoch": epoch, "epochs": asked},
        )  # fmt: skip
