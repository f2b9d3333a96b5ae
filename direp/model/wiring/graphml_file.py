"""GraphML, by networkx. A file with a document type is refused: its entities can unfold without end."""

import io
import warnings
from pathlib import Path
from xml.parsers import expat

import networkx as nx

from .libraries import from_networkx, to_networkx
from .table import Wiring


def read_graphml(path: str | Path, *, weight: str = "weight") -> Wiring:
    """The wiring of a GraphML file: node ids are names; attributes as in `from_networkx`.

    Raises `ValueError` of one line for a file that is not that.
    """
    path = Path(path)
    content = path.read_bytes()
    if not content.strip():
        raise ValueError(f"{path} is empty: needed is GraphML")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except _DocumentTypeError:
        raise ValueError(
            f"{path}, line {parser.CurrentLineNumber}: has a document type (DOCTYPE), whose entities could unfold "
            "without end: remove that line"
        ) from None
    except expat.ExpatError as error:
        raise ValueError(
            f"{path}, line {error.lineno}: is no XML ({expat.errors.messages.get(error.code, error)})"
        ) from None
    except Exception as error:  # such as an encoding that there is not
        raise ValueError(f"{path} is no XML ({error})") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an attribute without a type is text
            graph = nx.read_graphml(io.BytesIO(content))
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is no GraphML that networkx reads ({said})") from None
    # networkx keeps the defaults of attributes apart from the nodes and edges that leave them out.
    for kind, rows in (("node_default", graph.nodes(data=True)), ("edge_default", graph.edges(data=True))):
        for *_, attributes in rows:
            attributes.update({**graph.graph.get(kind, {}), **attributes})
    return from_networkx(graph, weight=weight, origin=str(path))


class _DocumentTypeError(Exception):
    pass


def _refuse(*_: object) -> None:
    raise _DocumentTypeError


def write_graphml(path: str | Path, wiring: Wiring) -> None:
    """GraphML whose numbers come back equal. Raises `ValueError` for attributes that are no text, number or bool."""
    try:
        lines = list(nx.generate_graphml(to_networkx(wiring)))
    except (nx.NetworkXError, TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path}: GraphML holds text, numbers and true or false alone: {' '.join(str(error).split())}"
        ) from None
    Path(path).write_bytes(('<?xml version="1.0" encoding="utf-8"?>\n' + "\n".join(lines) + "\n").encode())
