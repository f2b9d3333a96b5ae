"""What is wrong with a file, in one line."""

import contextlib
from collections.abc import Callable, Iterator

_LONGEST = 1000  # characters of a message


def one_line(text: object) -> str:
    """A message in one line of letters that can be printed, whatever a file put into it."""
    words = " ".join(str(text)[: 4 * _LONGEST].split())
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} ..."


class Unreadable(ValueError):
    """A file that is not there or does not hold what it should; says so in one line."""

    def __init__(self, message: object):
        super().__init__(one_line(message))


@contextlib.contextmanager
def reading(what: str, tell: Callable[[Exception], object] = str) -> Iterator[None]:
    """A context in which a file is parsed: whatever a parser raises there is `Unreadable`, `what` with the reason in
    brackets. Sizes are to be compared before memory is taken: that there is not enough is no fault of the file's."""
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except RecursionError:
        raise Unreadable(f"{what} (it is nested too deeply)") from None
    except Exception as error:
        raise Unreadable(f"{what} ({str(tell(error)) or type(error).__name__})") from None
