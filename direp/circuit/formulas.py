"""Activations as expressions that simulators of circuits read, tried against the activations themselves."""

import ast
import math
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ..model import ACTIVATIONS, Activation, identity

# In `v`, the voltage that controls. An exponential never overflows.
FORMULAS = {
    "hard-sigmoid": "min(max(v,0),1)",
    "sigmoid": "0.5+0.5*tanh(0.5*v)",
    "tanh": "tanh(v)",
    "relu": "max(v,0)",
    "softplus": "max(v,0)+ln(1+exp(-abs(v)))",
}
_CALLS = {
    "min": min, "max": max, "abs": abs, "exp": math.exp, "ln": math.log, "sqrt": math.sqrt, "sin": math.sin,
    "cos": math.cos, "atan": math.atan, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh,
}  # fmt: skip
_OPERATORS = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b, ast.Div: lambda a, b: a / b,
}  # fmt: skip
_ALLOWED = f"v, numbers, + - * / and {', '.join(_CALLS)}"


def formula_of(activation: Activation, own: Mapping[str, str], owner: str) -> str | None:
    """The expression of an activation in `v`; `None` for the identity. `own` has those of a user's own, by name.

    Raises `ValueError` for an activation without one, and for an expression that is not that activation.
    """
    if activation == identity:
        return None
    if activation in ACTIVATIONS.values():
        return FORMULAS[activation.name]
    if activation.name not in own:
        raise ValueError(
            f"{owner}: the activation {activation.name!r} is no formula: there are {', '.join(FORMULAS)} and identity; "
            f"give direp.netlist(formulas={{{activation.name!r}: '...'}}), an expression in v"
        )
    expression = "".join(own[activation.name].split())
    _try(activation, expression, owner)
    return expression


def put(expression: str, node: str) -> str:
    """The expression of the voltage of a node."""
    return re.sub(r"\bv\b", f"V({node})", expression)


def _try(activation: Activation, expression: str, owner: str) -> None:
    at = np.concatenate([np.linspace(-8, 8, 257), [-100.0, 100.0]])
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        true = np.asarray(activation(jnp.asarray(at)), np.float64)
    where = f"{owner}: the formula {expression!r} of {activation.name!r}"
    try:
        tree = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise ValueError(f"{where} cannot be read; write it in {_ALLOWED}") from None
    for v, value in zip(at.tolist(), true.tolist(), strict=True):
        try:
            found = evaluate(tree, v)
        except (OverflowError, ZeroDivisionError) as error:
            raise ValueError(f"{where} has no value at v = {v:g} ({error}); write it so that it has one") from None
        except ValueError as error:
            raise ValueError(f"{where} {error}; write it in {_ALLOWED}") from None
        if not abs(found - value) <= 1e-9 * (1 + abs(value)):
            raise ValueError(f"{where} is {found:.9g} at v = {v:g}, and the activation {value:.9g}")


def evaluate(node: ast.expr, v: float) -> float:
    """The value of a parsed expression. Raises `ValueError` for what is not allowed in one."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id="v"):
            return v
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -evaluate(operand, v)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _OPERATORS[type(operator)](evaluate(left, v), evaluate(right, v))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in _CALLS:
            try:
                return float(_CALLS[name](*(evaluate(each, v) for each in given)))
            except TypeError:
                raise ValueError(f"gives {name} {len(given)} numbers") from None
    raise ValueError(f"has {ast.unparse(node)!r} in it")
