"""`advance` is repeated by every site and must give the same bits on any processor, so it uses elementwise + - * / and sqrt only.

Checked are functions named `advance` and the methods that it comes to by a class (`HOOKS`), the server optimisers, the `finalise` of
questions, which the stop rule calls, the measures that it looks up in `curves`, and whatever of ours these call by name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

import pytest

from tests.house.reading import Source, functions, imports, planted, sources

QUESTIONS, SERVERS = "wardround.learning.questions", "wardround.learning.servers"
HOOKS = ("advance", "start_server", "stepped", "judge")
"""Methods that `advance` comes to by way of a class or a table, where no name leads."""

# Results of these differ between processors and libraries: transcendental functions in their last bit, products of matrices in their order.
INEXACT = {
    *("acos", "arccos", "arcsin", "arctan", "arctan2", "asin", "atan", "atan2", "cos", "cosh", "sin", "sinh", "tan", "tanh"),
    *("exp", "exp2", "expm1", "expit", "log", "log10", "log1p", "log2", "logaddexp", "logit", "sigmoid", "softmax"),
    *("cbrt", "float_power", "hypot", "pow", "power"),
    *("correlate", "convolve", "dot", "einsum", "inner", "kron", "linalg", "matmul", "matvec", "tensordot", "vdot", "vecdot", "vecmat"),
    *("fft", "interp", "norm", "polyfit"),
}


def inexact(house: Sequence[Source]) -> Iterator[str]:
    """Complain of arithmetic, on the way of `advance`, whose last bit depends on the processor."""
    for source, function in on_the_way(house):
        for part in ast.walk(function):
            found = _inexact(part)
            if found:
                line = getattr(part, "lineno", 1)
                yield f"{source.path}:{line}: {found} on the way of advance; every site repeats it bit for bit, so + - * / and sqrt only"


def on_the_way(house: Sequence[Source]) -> list[tuple[Source, ast.AST]]:
    """Return the functions at which `advance` starts and all of ours that they call, directly or not."""
    defined: dict[str, list[tuple[Source, ast.AST]]] = {}
    todo: list[str] = []
    for source in house:
        for function in functions(source):
            name = f"{source.module}.{function.name}"
            defined.setdefault(name, []).append((source, function))
            measure = source.module == f"{QUESTIONS}.curves" and not function.name.startswith("_")
            finalised = function.name == "finalise" and source.module.startswith(QUESTIONS)
            if function.name in HOOKS or measure or finalised or source.module.startswith(SERVERS):
                todo.append(name)
    reached: list[tuple[Source, ast.AST]] = []
    while todo:
        for source, place in defined.pop(todo.pop(), []):
            reached.append((source, place))
            todo += _called(source, place)
    return reached


def _called(source: Source, function: ast.AST) -> Iterator[str]:
    """Yield the dotted names of what a function calls by name: of its own module, of `self`, or imported."""
    known = {item.target.rpartition(".")[2]: item.target for item in imports(source)}
    for part in ast.walk(function):
        if not isinstance(part, ast.Call):
            continue
        if isinstance(part.func, ast.Name):
            yield known.get(part.func.id, f"{source.module}.{part.func.id}")
        elif isinstance(part.func, ast.Attribute) and isinstance(part.func.value, ast.Name):
            yield f"{known.get(part.func.value.id, source.module)}.{part.func.attr}"


def _inexact(part: ast.AST) -> str | None:
    if isinstance(part, (ast.BinOp, ast.AugAssign)) and isinstance(part.op, ast.MatMult):
        return "@"
    if isinstance(part, (ast.BinOp, ast.AugAssign)) and isinstance(part.op, ast.Pow):
        return "**"
    if isinstance(part, ast.Attribute) and part.attr in INEXACT:
        return ast.unparse(part)
    if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in INEXACT:
        return part.func.id
    return None


def test_the_house_is_in_order() -> None:
    complaints = list(inexact(sources()))
    assert not complaints, "\n" + "\n".join(complaints)


def test_the_way_is_followed() -> None:
    reached = {f"{source.module}.{getattr(function, 'name', '')}" for source, function in on_the_way(sources())}
    learning = "wardround.learning"
    assert {f"{learning}.algorithms.fedavg.advance", f"{learning}.servers.adam.step", f"{learning}.questions.binary.finalise"} <= reached
    assert {f"{QUESTIONS}.curves.{name}" for name in ("auroc", "brier", "calibration_error", "ratio")} <= reached


@pytest.mark.parametrize(
    "line",
    [
        "np.linalg.solve(a, b)",
        "a @ b",
        "a.dot(b)",
        "np.exp(a)",
        "math.log(a)",
        "a ** 2",
        "np.power(a, 2)",
        "np.tanh(a)",
        "pow(a, 2)",
        "np.einsum('i,i', a, b)",
    ],
)
def test_a_planted_violation_is_found(line: str) -> None:
    x, server = "wardround.learning.algorithms.x", "wardround.learning.helper"
    helper = planted(server, f"def step(a, b):\n    return {line}\n")
    calls_helper = planted(x, "from wardround.learning import helper\ndef advance(a, b):\n    return helper.step(a, b)\n")
    imports_helper = planted(x, "from wardround.learning.helper import step\ndef advance(a, b):\n    return step(a, b)\n")
    houses = [
        ([planted(x, f"class A:\n    def advance(self, state, total):\n        return {line}\n")], 3),
        ([planted(x, f"def half(a):\n    return {line}\nclass A:\n    def advance(self):\n        return half(2)\n")], 2),
        ([planted(x, f"class A:\n    def f(self):\n        {line}\n    def advance(self):\n        self.f()\n")], 3),
        ([planted(f"{QUESTIONS}.x", f"def finalise(sums):\n    return {line}\n")], 2),
        ([planted(f"{QUESTIONS}.curves", f"def measure(hist):\n    return {line}\n")], 2),
        ([helper, calls_helper], 2),
        ([helper, imports_helper], 2),
    ]
    for house, at in houses:
        (complaint,) = inexact(house)
        assert complaint.startswith(f"{house[0].path}:{at}:")


def test_what_is_allowed_passes() -> None:
    text = "def answer(a):\n    return a @ a\ndef advance(a):\n    return {**a, 'b': np.sqrt(a['x'] * a['x'] / 2 + 1) - 1}\n"
    assert list(inexact([planted("wardround.learning.algorithms.x", text)])) == []
