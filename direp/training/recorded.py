"""A function as data: what it computes as a static part that can be compared, its numbers as arrays.

Optimisers are closures over their numbers, and every one that is made is another object. Recorded, two of them with the
same operations are equal, and their learning rates, decays and momenta are traced like any other array.
"""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.extend.core as jex
import numpy as np
import optax


class _Program:
    """The operations of a recorded function. Equal to another one with the same operations, whatever the numbers."""

    def __init__(self, jaxpr: jex.Jaxpr, tree: Any):
        self.jaxpr, self.tree = jaxpr, tree
        # The text leaves out what has no text of its own, such as functions and constants within functions.
        self._key = (str(jaxpr), tree, *map(_comparable, _parts(jaxpr)))
        self._hash = hash(self._key)

    @property
    def arrays(self) -> list[Any]:
        """Those within its functions, of which its text tells nothing."""
        return [part for part in _parts(self.jaxpr) if isinstance(part, jax.Array | np.ndarray)]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Program) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash


class _Same:
    """What cannot be hashed: equal to itself alone. Keeps the object, so that no other one gets its place in memory."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _comparable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return value


def _parts(jaxpr: jex.Jaxpr) -> Iterator[Any]:
    """Every parameter of every operation, and the arrays of the functions within."""
    for equation in jaxpr.eqns:
        yield from (atom.val for atom in equation.invars if isinstance(atom, jex.Literal) and np.ndim(atom.val))
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                if isinstance(part, jex.ClosedJaxpr):
                    yield from part.consts
                    yield from _parts(part.jaxpr)
                elif isinstance(part, jex.Jaxpr):
                    yield from _parts(part)
                else:
                    yield part


class _Recorded(eqx.Module):
    program: _Program = eqx.field(static=True)
    numbers: list[Any]  # constants, and the numbers that stood in the operations

    def __call__(self, *arguments: Any) -> Any:
        leaves = jax.tree.leaves(arguments)
        found = jax.core.eval_jaxpr(self.program.jaxpr, self.numbers, *leaves)
        return jax.tree.unflatten(self.program.tree, found)


def record(function: Callable, *arguments: Any) -> _Recorded:
    """`function` of pytrees of arrays as operations and numbers, recorded for arguments of these shapes.

    The last digits of what it computes are those of `function` compiled: what a compiler makes of constants is done
    here, and those that steer it stay in the operations. These are 1 and -1, and the two factors of a sum of products
    (the decay of a moment), of which it rounds only one.
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    jaxpr, numbers, variable = closed.jaxpr, list(closed.consts), jex.gensym()
    places, made = list(jaxpr.constvars), {}
    for equation in jaxpr.eqns:
        made |= dict.fromkeys(equation.outvars, _merged(equation, made))
    products = {result for result, equation in made.items() if equation.primitive.name == "mul"}
    sums = (set(e.invars) for e in jaxpr.eqns if e.primitive.name in ("add", "sub") and _variables(e) <= products)
    kept = set().union(*sums)

    def lifted(atom: Any) -> Any:
        if not isinstance(atom, jex.Literal) or np.abs(atom.val).tolist() == 1:
            return atom
        numbers.append(np.asarray(atom.val, atom.aval.dtype))  # pyright: ignore[reportAttributeAccessIssue]
        places.append(variable(atom.aval))
        return places[-1]

    equations = []
    for equation in (made[e.outvars[0]] if e.outvars else e for e in jaxpr.eqns):
        steers = any(result in kept for result in equation.outvars)
        equations.append(equation if steers else equation.replace(invars=list(map(lifted, equation.invars))))
    jaxpr = jaxpr.replace(constvars=places, eqns=equations, outvars=list(map(lifted, jaxpr.outvars)))
    return _Recorded(_Program(jaxpr, jax.tree.structure(shape)), numbers)


def _variables(equation: jex.JaxprEqn) -> set[Any]:
    """What an operation reads; two variables at least, or it is no sum of products."""
    return {atom if not isinstance(atom, jex.Literal) else None for atom in equation.invars}


def _merged(equation: jex.JaxprEqn, made: dict[Any, jex.JaxprEqn]) -> jex.JaxprEqn:
    """A number times, or divided by, a number: a single product, $(cx)d=(cd)x$ and $(cx)/d=(c\\cdot1/d)x$."""
    outer, inner = _factor(equation), None
    if outer is not None:
        inner = made.get(outer[1])
    first = _factor(inner) if inner is not None and inner.primitive.name == "mul" else None
    if outer is None or inner is None or first is None:
        return equation
    (number, _), (factor, variable) = outer, first
    kind = factor.aval.dtype.type
    by = kind(1) / kind(number.val) if equation.primitive.name == "div" else kind(number.val)
    product = jex.Literal(np.asarray(kind(factor.val) * by), factor.aval)
    return inner.replace(invars=[product, variable], outvars=equation.outvars)


def _factor(equation: jex.JaxprEqn) -> tuple[Any, Any] | None:
    """The number and the variable of a product or a quotient by a number."""
    atoms = equation.invars
    literal = [isinstance(atom, jex.Literal) and np.asarray(atom.val).dtype.kind == "f" for atom in atoms]
    if equation.primitive.name == "div" and literal == [False, True]:
        return atoms[1], atoms[0]
    if equation.primitive.name == "mul" and sum(literal) == 1:
        return atoms[literal.index(True)], atoms[literal.index(False)]
    return None


class RecordedOptimiser(eqx.Module):
    """An optax transformation whose numbers are traced."""

    init: _Recorded
    update: _Recorded

    @classmethod
    def of(cls, optimiser: optax.GradientTransformation, parameters: Any) -> "RecordedOptimiser":
        """For parameters of these shapes; updates have the same."""
        state = jax.eval_shape(optimiser.init, parameters)
        return cls(record(optimiser.init, parameters), record(optimiser.update, parameters, state, parameters))
