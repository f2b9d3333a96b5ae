"""Names of the library's own fields, as people who choose rules know them."""

_PHASES = {"AsymField": "AsymEP", "AdjointField": "the adjoint"}


def spoken(text: str) -> str:
    """A sentence of a certificate with the rules in place of the fields that they settle."""
    for field, name in _PHASES.items():
        text = text.replace(field, name)
    return text
