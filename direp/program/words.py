"""Words for people: counts, and the library's own fields by the names of rules."""

_PHASES = {"AsymField": "AsymEP", "AdjointField": "the adjoint"}


def spoken(text: str) -> str:
    """A sentence of a certificate with the rules in place of the fields that they settle."""
    for field, name in _PHASES.items():
        text = text.replace(field, name)
    return text


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
