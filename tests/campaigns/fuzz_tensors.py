"""Damage done to safetensors and Parquet files."""

import functools
import io
import json
import struct
from typing import Any

import numpy as np
from fuzz_arrays import hostile_array
from fuzz_mutate import FORMS, json_text, pick, replaced

from direp.runs import seal


def parted(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and numbers of a safetensors file."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def joined(header: str, numbers: bytes, length: int | None = None) -> bytes:
    text = header.encode(errors="surrogatepass")
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


def _header(rng: np.random.Generator, content: bytes) -> bytes:
    """Another header, or another length of it."""
    header, numbers = parted(content)
    text = json.dumps(header)
    if rng.random() < 0.2:
        return joined(text, numbers, int(pick(rng, (0, 1, 7, len(text) + 1, len(text) - 1, 2**31, 2**63 - 1, 10**8))))
    if rng.random() < 0.5:
        name = pick(rng, [key for key in header if key != "__metadata__"])
        offsets = header[name]["data_offsets"]
        changed = {
            "dtype": pick(rng, ("F16", "BF16", "F64", "F32", "I8", "U64", "BOOL", "F8_E4M3", "F4", "C64", "X", 3)),
            "shape": pick(rng, ([10**9], [2**63], [-1], [0], [], [2**32, 2**32], "x", [1.5], [[1]])),
            "data_offsets": pick(rng, ([0, 0], [0, 10**12], offsets[::-1], [offsets[0]], [0, offsets[1]], None)),
        }
        key = pick(rng, list(changed))
        return joined(json.dumps(replaced(header, (name, key), changed[key])), numbers)
    return joined(json_text(rng, text), numbers)


def _described(rng: np.random.Generator, content: bytes) -> bytes:
    """Another description of what the arrays are: documents in its metadata."""
    header, numbers = parted(content)
    metadata = header["__metadata__"]
    documents = [name for name, text in metadata.items() if text.startswith("{")]
    name = pick(rng, documents or list(metadata))
    text = json_text(rng, metadata[name]) if documents else pick(rng, ("", "x", "-1", "9" * 5000, "²", "0", "\0"))
    return joined(json.dumps(replaced(header, ("__metadata__", name), text)), numbers)


def _more(rng: np.random.Generator, content: bytes) -> bytes:
    """Other metadata: one is gone, or says something else."""
    header, numbers = parted(content)
    metadata = dict(header["__metadata__"])
    name = pick(rng, list(metadata))
    if rng.random() < 0.4:
        del metadata[name]
    else:
        metadata[name] = pick(
            rng, ("", "x", "-1", "9" * 5000, "²", "0", "1", "direp 1", "direp network 1", "{}", "null")
        )
    return joined(json.dumps(header | {"__metadata__": metadata}), numbers)


def _arrays(rng: np.random.Generator, content: bytes) -> bytes:
    """Other arrays in the same file."""
    from safetensors.numpy import load, save

    header, _ = parted(content)
    arrays = dict(load(content))
    for _ in range(int(rng.choice([1, 1, 2]))):
        name = pick(rng, list(arrays))
        if rng.random() < 0.15 and len(arrays) > 1:
            arrays[pick(rng, ("more", "rule.0", "rule.99", "weight.input.9", "source", "x", ""))] = arrays.pop(name)
            continue
        changed = np.ascontiguousarray(hostile_array(rng, arrays[name]))
        arrays[name] = (
            changed if changed.dtype.str[1:] in ("f4", "f8", "f2", "i4", "i8", "u8", "i1", "b1") else np.zeros(3)
        )
    return save(arrays, header["__metadata__"])


def resealed(content: bytes) -> bytes:
    """The file with the SHA-256 of what it holds, where it can be read at all."""
    from safetensors.numpy import load, save

    try:
        header, _ = parted(content)
        metadata, arrays = header["__metadata__"], load(content)
        return save(arrays, metadata | {"sha256": seal(metadata, arrays)})
    except Exception:
        return content


@functools.cache
def _long_parquet() -> bytes:
    """A few kilobytes that say one number a hundred million times."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    stream, count = io.BytesIO(), 2**20
    column = pa.array(np.zeros(count, np.int64))
    table = pa.table(dict.fromkeys(("a", "b", "c", "kind"), column))
    with parquet.ParquetWriter(stream, table.schema, compression="zstd") as writer:
        for _ in range(25):
            writer.write_table(table)
    return stream.getvalue()


def _parquet(rng: np.random.Generator, content: bytes) -> bytes:
    """Columns of other kinds, in a file that is whole."""
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as parquet

    if rng.random() < 0.02:
        return _long_parquet()
    table = parquet.read_table(io.BytesIO(content))
    k, n = int(rng.integers(table.num_columns)), table.num_rows
    strange: tuple[Any, ...] = (
        pa.array([None] * n), pa.array([[1, 2]] * n), pa.array([{"a": 1}] * n), pa.array([b"\xff\0"] * n),
        pa.array([datetime.datetime(2020, 1, 1)] * n), pa.array([float("nan")] * n),
        pa.array([1e308, -1e308] * (n // 2)),
        pa.array([2**63] * n, pa.uint64()), pa.array([True, None] * (n // 2)), pa.array(["a", "\0"] * (n // 2)),
        pa.array(["a", "b"] * (n // 2)).dictionary_encode(), pa.array([1] * n, pa.decimal128(38, 0)),
        pa.array([datetime.timedelta(1)] * n), pa.array([float("inf")] * n), pa.array(["x" * 100_000] * n),
        pa.array([0.1] * n, pa.float16()), pa.array([1] * n, pa.decimal256(76, 30)), 
        pa.array([0, 1] * (n // 2), pa.int8()), pa.array(["é\u202e", "\x1b[2J"] * (n // 2)),
    )  # fmt: skip
    title = pick(rng, (table.column_names[k], table.column_names[0], "", "\0", "kind", "x" * 1000))
    table = table.set_column(k, title, pick(rng, strange))
    stream = io.BytesIO()
    parquet.write_table(table.slice(0, int(rng.choice([0, 1, 5, n]))), stream)
    return stream.getvalue()


FORMS |= {"safetensors": (_header, _described, _described, _more, _arrays, _arrays), "parquet": (_parquet,)}
