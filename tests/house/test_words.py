"""One word for one thing: a hospital taking part is a site, and nothing of ours calls it otherwise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.reading import Source, planted, sources

NOT_USED = {"client", "silo", "collaborator", "node"}
# RFC 6962 calls the inner vertices of its tree nodes, and so may the room that implements it.
KEPT = {"record": {"node"}}


def other_words(source: Source) -> Iterator[str]:
    """Complain of names that we give (not of those that libraries gave) containing a word that the house does not use."""
    for name, line in (*_given(source.tree), *((part, 1) for part in source.module.split("."))):
        for word in re.findall(r"[a-z]+|[A-Z][a-z]*", name):
            plain = word.lower()
            if plain.removesuffix("s") in NOT_USED - KEPT.get(source.room, set()):
                yield f"{source.path}:{line}: {name} says {plain!r}; the word here is site"


def _given(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for part in ast.walk(tree):
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield part.name, part.lineno
        elif isinstance(part, ast.arg):
            yield part.arg, part.lineno
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id, part.lineno
        elif isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            yield part.attr, part.lineno


def test_the_house_is_in_order() -> None:
    complaints = [complaint for source in sources() for complaint in other_words(source)]
    assert not complaints, "\n" + "\n".join(complaints)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("wardround.site.x", "class NodeGate: ..."),
        ("wardround.coordinator.x", "def ask_clients(): ..."),
        ("wardround.engines.x", "def send(client_id): ..."),
        ("wardround.data.x", "silos = 3"),
        ("wardround.data.x", "def f(self):\n    self.collaborator = 1"),
        ("wardround.engines.node", ""),
    ],
)
def test_a_planted_violation_is_found(module: str, text: str) -> None:
    assert len(list(other_words(planted(module, text)))) == 1


def test_what_is_allowed_passes() -> None:
    assert list(other_words(planted("wardround.record.x", "def node_hash(left, right): ..."))) == []
    assert list(other_words(planted("wardround.engines.x", "answer = library.client.send(cohort)"))) == []
