"""Words for people: the library's own fields by the names of rules, and messages that fit on a line."""

_PHASES = {"AsymField": "AsymEP", "AdjointField": "the adjoint"}


def spoken(text: str) -> str:
    """A sentence of a certificate with the rules in place of the fields that they settle."""
    for field, name in _PHASES.items():
        text = text.replace(field, name)
    return text


_LONGEST = 1000  # characters of a message


def one_line(text: object) -> str:
    """A message in one line of letters that can be printed, whatever a file put into it."""
    words = " ".join(str(text)[: 4 * _LONGEST].split())
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} ..."
