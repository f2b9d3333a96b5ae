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
            table = _parquet(name, content)
        else:
            table = _csv(name, content, "\t" if path.suffix.lower() == ".tsv" else ",", types)
    except DataUnreadable:
        raise
    except MemoryError:
        raise
    except Exception as error:  # whatever a parser says of a file
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


# A Parquet file, in which a number that is there a million times takes a few bytes, may unfold to so many bytes, or to
# so many times its own size.
_UNFOLDED, _RATIO = 2**26, 10


def _parquet(name: str, content: bytes) -> Any:
    """Words are read as numbers of words, whose lengths are added up before they are written out."""
    import pyarrow.compute
    import pyarrow.parquet as parquet

    compute: Any = pyarrow.compute
    about, most = parquet.read_metadata(io.BytesIO(content)), max(_UNFOLDED, _RATIO * len(content))
    sizes = [(about.schema.column(k).path, about.schema.column(k).physical_type) for k in range(about.num_columns)]
    size = 8 * about.num_rows * about.num_columns
    if size <= most:
        words = [path for path, kind in sizes if kind == "BYTE_ARRAY" and "." not in path]
        table = parquet.read_table(io.BytesIO(content), read_dictionary=words)
        wanted = parquet.read_schema(io.BytesIO(content))
        packed = [k for k, field in enumerate(wanted) if table.schema.field(k).type != field.type]
        for chunk in (chunk for k in packed for chunk in table.column(k).chunks):
            lengths = compute.binary_length(chunk.dictionary).take(chunk.indices)
            size += compute.sum(lengths).as_py() or 0
        if size <= most:
            for k in packed:
                plain = table.column(k).cast(table.schema.field(k).type.value_type).cast(wanted.field(k).type)
                table = table.set_column(k, wanted.field(k), plain)
            return table
    raise DataUnreadable(
        f"{name} unfolds to {size:,} bytes, more than {most:,}: leave out columns of equal entries, or save it as CSV"
    )


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
            + (" (or name the file .tsv)" if other == "\t" else ": save it so, with a point in fractions (0.5)")
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
