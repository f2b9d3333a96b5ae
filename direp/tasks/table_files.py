"""Tables out of files: CSV and Parquet, read strictly."""

import io
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import DataUnreadable

_GAPS = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "-"]


def read_table(path: str | Path, words: Iterable[str] = (), *, numbers: Iterable[str] = ()) -> Any:
    """An Arrow table out of a .csv, .tsv or .parquet file, or (path `-`) CSV from standard input.

    The first line of a CSV file names the columns; a gap is nothing, `NA`, `NaN`, `null`, `None`, `?` or `-`. `words`
    are columns that hold these whatever they look like, `numbers` those that must hold numbers or truth values. Raises
    `DataUnreadable`, in one line.
    """
    import pyarrow as pa

    name, path = str(path), Path(path)
    if name != "-" and not path.is_file():
        raise DataUnreadable(f"{name} {'is no file' if path.exists() else 'does not exist'}")
    content = sys.stdin.buffer.read() if name == "-" else path.read_bytes()
    name = "standard input" if name == "-" else name
    types = {column: pa.string() for column in words}
    try:
        if path.suffix.lower() == ".parquet":
            table = _parquet(content)
        else:
            table = _csv(name, content, "\t" if path.suffix.lower() == ".tsv" else ",", types)
    except DataUnreadable:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataUnreadable(f"{name}: {_plain(error)}") from None
    columns = table.column_names
    twice = next((column for k, column in enumerate(columns) if column in columns[:k]), None)
    if twice is not None:
        raise DataUnreadable(f"{name} has two columns {twice!r}: give each its own name")
    if not table.num_rows:
        raise DataUnreadable(f"{name} has a line of column names and no rows")
    for column in set(numbers) & set(columns):
        _numbers(name, column, table.column(column))
    return table


def _numbers(name: str, title: str, column: Any) -> None:
    """Refuses a column that is of neither numbers nor truth values, by the first entry that is none."""
    import pyarrow.types as kinds

    if kinds.is_boolean(column.type) or kinds.is_integer(column.type) or kinds.is_floating(column.type):
        return
    entries = enumerate(column.to_pylist(), 1)
    row, entry = next(((k, e) for k, e in entries if e is not None and not _number(str(e))), (0, None))
    if row:
        raise DataUnreadable(
            f"{name}: column {title!r} holds {str(entry)!r} in row {row}; the network was trained on numbers there"
        )


def _parquet(content: bytes) -> Any:
    import pyarrow.parquet as parquet

    return parquet.read_table(io.BytesIO(content))


def _csv(name: str, content: bytes, separator: str, types: Mapping[str, Any]) -> Any:
    import pyarrow.csv as csv

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataUnreadable(f"{name}, line {line}: this is not UTF-8; save the file as UTF-8 text") from None
    if "\0" in text:
        raise DataUnreadable(f"{name} holds zero bytes, which no text has: it is no CSV file")
    if not text.strip():
        raise DataUnreadable(f"{name} is empty")
    head = text.lstrip("\n").splitlines()[0]
    other = next((mark for mark in (";", "\t", "|", ",") if mark in head and separator not in head), None)
    if other is not None:
        raise DataUnreadable(
            f"{name}: columns are parted by {other!r}; needed is {separator!r}"
            + (" (or name the file .tsv)" if other == "\t" else "")
        )
    parsed = csv.read_csv(
        io.BytesIO(text.encode()),
        parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=None),
        convert_options=csv.ConvertOptions(
            column_types=dict(types), null_values=_GAPS, strings_can_be_null=True,
            true_values=["true", "True", "TRUE"], false_values=["false", "False", "FALSE"],
        ),
    )  # fmt: skip
    nameless = [k + 1 for k, column in enumerate(parsed.column_names) if not column.strip()]
    if nameless:
        raise DataUnreadable(f"{name}: column {nameless[0]} has no name in the first line")
    if all(_number(column) for column in parsed.column_names):
        raise DataUnreadable(
            f"{name}: the first line holds numbers ({', '.join(parsed.column_names[:3])}); it must name the columns"
        )
    return parsed


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(error: Exception) -> str:
    """Arrow's message in one line, in words of a table."""
    text = " ".join(str(error).split())
    for before, after in (("CSV parse error: ", ""),):
        text = text.replace(before, after)
    return text[:300]
