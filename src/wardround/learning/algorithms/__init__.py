"""Kinds of computation: one file each, four pure functions *ask, answer, add, advance*.

Right of this room: the worker's, and `advance` is repeated by every site bit for bit, so it uses elementwise + - * / and sqrt only. A new
one is one file here and one line under `wardround.algorithms` in `pyproject.toml`.
"""
