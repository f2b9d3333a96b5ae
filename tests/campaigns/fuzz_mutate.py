"""Damage done to files: bytes of any file, values in JSON, cells of tables, tags of XML.

A mutation is a function of a generator and the content; it gives other content, which may be no file of its kind any
more. Those of `RAW` do not know what they damage; those of a form (`FORMS`) write files whose outside is fine.
"""

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np

Mutation = Callable[[np.random.Generator, bytes], bytes]

SENTINEL = "fuzz_sentinel"  # a module that lies on sys.path, and that no file may make the program import
HOLE = "@@hole@@"
_DEEP = 100_000

# What stands in the place of a value, as JSON text.
HOSTILE = (
    "null", "true", "false", "0", "-1", "1", "2", "0.5", "-0.0", "1e308", "-1e308", "1e999", "1e-320", "1" + "0" * 400,
    "1" + "0" * 5000, "100000000", "2147483647", "2147483648", "99999999999", "1e8", "NaN", "Infinity", "-Infinity",
    "[]", "{}", '""', '"x"', '"none"', '[""]', "[null]", "[[1]]", '{"a": 1}', "[1, 2, 3]", '["a", "b"]', "[1e8]",
    "[100000000]", "[10000, 10000]", '"0..999999999"', '"0..40"', '"1,2"', r'"\u0000"', r'"\ud800"', r'"a\nb"',
    r'"\u001b[2J"', r'"\u202e"', '"' + "long " * 20_000 + '"', "[" * _DEEP + "]" * _DEEP, "[" * 900 + "]" * 900,
    '{"a":' * _DEEP + "1" + "}" * _DEEP, "[" + "0," * 20_000 + "0]", f'"{SENTINEL}:boom"', '"os:system"',
    f'{{"path": "{SENTINEL}:boom", "sha256": null}}', '"../../../../etc/passwd"', '"nowhere.csv"', '"nowhere.graphml"',
    '"/dev/zero"', '"float64"', '"float16"', '"sparse"', '"dense"', '"layered"', '"complete"', '"random"', '"hopfield"',
    '"rate"', '"projected"', '"tanh"', '"relu"', '"absolute"', '"signed"', '"asym-ep"', '"dyadic"', '"adjoint"',
    '"learned"', '"fixed"', '"cross-entropy"', '"centred"', '"iris"', '"digits"', '"weights"', '"loops"', '"sgd"',
    '"regression"', '"classification"', '"multilabel"', '"small-world"', '"fan-in"', '"euler"', '"coloured"',
)  # fmt: skip


def _place(rng: np.random.Generator, content: bytes) -> tuple[int, int]:
    """A stretch of the content: often short, and often in its first bytes, where headers are."""
    size = max(len(content), 1)
    first = int(rng.integers(min(size, 300) if rng.random() < 0.5 else size))
    return first, first + 1 + int(size ** (rng.random() ** 2)) - 1


def _flip(rng: np.random.Generator, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 2, 8, 64]))):
        if changed:
            at, _ = _place(rng, content)
            changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _set(rng: np.random.Generator, content: bytes) -> bytes:
    """Some bytes become extreme ones, as sizes in headers would."""
    first, _ = _place(rng, content)
    width = int(rng.choice([1, 2, 4, 8]))
    value = bytes([int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))]) * width
    return content[:first] + value + content[first + width :]


def _cut(rng: np.random.Generator, content: bytes) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _remove(rng: np.random.Generator, content: bytes) -> bytes:
    first, last = _place(rng, content)
    return content[:first] + content[last:]


def _repeat(rng: np.random.Generator, content: bytes) -> bytes:
    first, last = _place(rng, content)
    return content[:first] + content[first:last] * int(rng.choice([2, 3, 50])) + content[last:]


def _insert(rng: np.random.Generator, content: bytes) -> bytes:
    first, _ = _place(rng, content)
    more = rng.bytes(int(rng.choice([1, 4, 100, 5000])))
    return content[:first] + more + content[first:]


def _move(rng: np.random.Generator, content: bytes) -> bytes:
    first, last = _place(rng, content)
    rest, to = content[:first] + content[last:], int(rng.integers(len(content) + 1))
    return rest[:to] + content[first:last] + rest[to:]


def _zeros(rng: np.random.Generator, content: bytes) -> bytes:
    first, last = _place(rng, content)
    return content[:first] + bytes(last - first) + content[last:]


def _other(rng: np.random.Generator, content: bytes) -> bytes:
    """Another kind of file altogether."""
    return pick(rng, (b"", b"\0", b"{}", b"[]", b"PK\3\4", b"\x93NUMPY", b"\xff" * 64, b"PAR1PAR1", b"<"))


RAW: tuple[Mutation, ...] = (_flip, _flip, _set, _cut, _remove, _repeat, _insert, _move, _zeros, _other)


def pick(rng: np.random.Generator, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


# JSON


def _nodes(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths to all values in a document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in _nodes(child, (*path, key)))]


def replaced(document: Any, path: tuple, value: Any) -> Any:
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def at(document: Any, path: tuple) -> Any:
    return functools.reduce(lambda value, key: value[key], path, document)


def json_text(rng: np.random.Generator, text: str) -> str:
    """A JSON document with one to three values replaced, and at times a key gone, renamed or there twice."""
    document = json.loads(text)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        paths = _nodes(document)
        path = pick(rng, paths)
        parent = at(document, path[:-1]) if path else None
        action = rng.random()
        if action < 0.08 and isinstance(parent, dict):
            document = replaced(document, path[:-1], {k: v for k, v in parent.items() if k != path[-1]})
        elif action < 0.14 and isinstance(parent, dict):
            renamed = {
                (pick(rng, ("", "x", "sha256", f"{k}s", "\0")) if k == path[-1] else k): v for k, v in parent.items()
            }
            document = replaced(document, path[:-1], renamed)
        elif action < 0.22 and isinstance(parent, list):
            document = replaced(document, path[:-1], [*parent, *parent[:2]] if rng.random() < 0.5 else parent[:-1])
        elif action < 0.32:
            document = replaced(document, path, at(document, pick(rng, paths)))
        elif action < 0.5 and isinstance(number := at(document, path), int | float) and not isinstance(number, bool):
            document = replaced(document, path, pick(rng, (-number, number + 1, number - 1, number / 2, 1000 * number)))
        else:
            document = replaced(document, path, HOLE + str(int(rng.integers(len(HOSTILE)))))
    found = json.dumps(document)
    for k, hostile in enumerate(HOSTILE):
        found = found.replace(f'"{HOLE}{k}"', hostile)
    if rng.random() < 0.03:
        found = found.replace("{", '{"settings": 3, ', 1)  # a key that is there twice
    return found


def _json(rng: np.random.Generator, content: bytes) -> bytes:
    return json_text(rng, content.decode()).encode()


def _json_lines(rng: np.random.Generator, content: bytes) -> bytes:
    lines = content.decode().splitlines()
    k = int(rng.integers(len(lines)))
    lines[k] = json_text(rng, lines[k])
    return "\n".join(lines).encode()


# Text


CELLS = (
    "", " ", "x", "-", "nan", "inf", "-inf", "1e308", "1e309", "-1e308", "1e-320", "1" + "0" * 400, "0x10", "1_000",
    "١", "1,2", '"', '"a\nb"', "'", ";", "\t", "\0", "\x1b[2J", "\u202e", "\ufeff", "a" * 200_000,
    "true", "input", "output",
    "source", "target", "weight", "role", "99999999999999999999", "-1", "2", "0", "-0", "1.5", "=cmd()", "<a>", "&amp;",
    "&x;", "]]>", "None", "x0", "h0", "o0", "2020-01-01", "12:30:00",
)  # fmt: skip
_ENCODINGS = ("utf-16", "utf-8-sig", "latin-1", "utf-32", "utf-7", "cp037")
_DECLARED = (
    "utf-16",
    "latin-1",
    "ascii",
    "big5",
    "shift_jis",
    "utf-7",
    "cp037",
    "none",
    "idna",
    "rot13",
    "zlib",
    "x" * 99,
)


def _cell(rng: np.random.Generator, content: bytes) -> bytes:
    """Cells between separators become hostile ones."""
    text = content.decode()
    separators = '<>"=, ' if "<" in text else ",\n\t"
    for _ in range(int(rng.choice([1, 1, 2, 5]))):
        places = [k for k, letter in enumerate(text) if letter in separators]
        k = int(rng.integers(len(places))) if places else 0
        first, last = (places[k] + 1, places[k + 1] if k + 1 < len(places) else len(text)) if places else (0, 0)
        text = text[:first] + pick(rng, CELLS) + text[last:]
    return text.encode()


def _lines(rng: np.random.Generator, content: bytes) -> bytes:
    """Lines go, double, swap or grow in number."""
    lines = content.decode().splitlines(keepends=True) or [""]
    i, j = (int(k) for k in rng.integers(len(lines), size=2))
    action = int(rng.integers(4))
    if action == 0:
        del lines[i]
    elif action == 1:
        lines[i] *= int(rng.choice([2, 1000]))
    elif action == 2:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines[i] = lines[i].rstrip("\n") + ",1" * int(rng.choice([1, 5000])) + "\n"
    return "".join(lines).encode()


def _encoded(rng: np.random.Generator, content: bytes) -> bytes:
    return content.decode().encode(pick(rng, _ENCODINGS), "replace")


def _xml(rng: np.random.Generator, content: bytes) -> bytes:
    """Encodings, entities, document types, depth, and attributes of many kinds."""
    text = content.decode()
    body = text.partition("?>")[2]
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb">' + "".join(
        f'<!ENTITY b{k} "{f"&b{k - 1 or str()};" * 20}">' for k in range(1, 9)) + "]>"  # fmt: skip
    key = text.partition('attr.type="')[2].partition('"')[0]
    kinds = ("int", "long", "boolean", "string", "float", "double", "yfiles", "", "complex")
    choice = int(rng.integers(6))
    if choice == 0:
        return f'<?xml version="1.0" encoding="{pick(rng, _DECLARED)}"?>{body}'.encode()
    if choice == 1:
        kind = pick(rng, ("utf-16", "utf-8"))
        return f'<?xml version="1.0" encoding="{kind}"?>{bomb}{body.replace("<graph", "&b8;<graph", 1)}'.encode(kind)
    if choice == 2:
        depth = int(rng.choice([1000, _DEEP]))
        tag = pick(rng, ("graph", "node", "data", "a"))
        return body.replace("</graph>", f"<{tag}>" * depth + f"</{tag}>" * depth + "</graph>").encode()
    if choice == 3:
        return text.replace(f'attr.type="{key}"', f'attr.type="{pick(rng, kinds)}"').encode()
    if choice == 4:
        return (
            text.replace("directed", pick(rng, ("undirected", "x")))
            .replace("<edge", pick(rng, ("<node", "<hyperedge", "<port")), 1)
            .encode()
        )
    return text.replace(
        "<node ", pick(rng, ('<node id="a"/><node ', '<graph id="b"/><node ', "<node><graph/></node><node ")), 1
    ).encode()


FORMS: dict[str, tuple[Mutation, ...]] = {
    "json": (_json,), "jsonl": (_json_lines,), "table": (_cell, _lines, _encoded),
    "xml": (_xml, _cell, _lines, _encoded),
}  # fmt: skip
