"""The house: rooms in the order of the data flow, entered by their faces, without circles."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "direp"
ROOMS = (
    "tasks",
    "arithmetic",
    "plot",
    "model",
    "settling",
    "rules",
    "certificates",
    "runs",
    "training",
    "analysis",
    "circuit",
    "testing",
    "program",
    "estimators",
)


def module_of(path):
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


FILES = {module_of(path): path for path in HOUSE.rglob("*.py")}
FACES = {module for module, path in FILES.items() if path.name == "__init__.py"}


def imports(module, path):
    """Every module of the package that a file imports, anywhere in it, as (line, parts, names)."""
    package = module if module in FACES else module[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            if base[:1] == ("direp",):
                names = [alias.name for alias in node.names]
                for name in names:
                    yield node.lineno, (*base, name) if (*base, name) in FILES else base, name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "direp":
                    yield node.lineno, tuple(alias.name.split(".")), ""


def test_the_installation_brings_what_the_package_imports():
    project = tomllib.loads((HOUSE.parent / "pyproject.toml").read_text())["project"]
    brought = {re.split(r"[^\w-]", each)[0].replace("-", "_").lower() for each in project["dependencies"]}
    brought |= {"flint", "sklearn", "direp", *sys.stdlib_module_names}  # python-flint, scikit-learn
    asked = {
        "pandas",
        "ipython",
        "ipywidgets",
        "distributed",
        "optuna",
        "tensorboardx",
        "mlflow",
        "nir",
    }  # for what a user has anyhow who calls it
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            assert {name.split(".")[0].lower() for name in names} <= brought | asked, path


def test_every_folder_is_a_room():
    assert {path.name for path in HOUSE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_rooms_before_it_and_only_by_their_faces(room):
    for module, path in FILES.items():
        if module[1:2] != (room,):
            continue
        for line, target, name in imports(module, path):
            where = f"{path.relative_to(HOUSE.parent)}:{line}"
            if target == ("direp",):
                assert room in ("program", "testing") or name == "__version__", f"{where} imports the whole package"
                continue
            other = target[1]
            if other == room:
                continue
            assert ROOMS.index(other) < ROOMS.index(room), f"{where}: {room} comes before {other}"
            assert target in FACES, f"{where} enters {'.'.join(target)}, which is no face"
            assert not name.startswith("_"), f"{where} imports the private name {name}"


def test_no_circles():
    edges = {m: {t for _, t, _ in imports(m, p) if t != m and t in FILES} for m, p in FILES.items()}
    done, path = set(), []

    def visit(module):
        if module in done:
            return
        assert module not in path, " imports ".join(".".join(m) for m in [*path[path.index(module) :], module])
        path.append(module)
        for target in edges[module]:
            # A face lists the modules of its folder; that these stand below it is no circle.
            if target[: len(module)] != module and module[: len(target)] != target:
                visit(target)
        path.pop()
        done.add(module)

    for module in sorted(FILES):
        visit(module)


def test_a_face_offers_what_it_lists():
    import importlib

    for face in FACES - {("direp",)}:
        loaded = importlib.import_module(".".join(face))
        for name in getattr(loaded, "__all__", ()):
            assert hasattr(loaded, name), f"{'.'.join(face)} lists {name}"
