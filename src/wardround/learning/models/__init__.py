"""Models: one file each, forward only.

Right of this room: the worker's. A model builds its network and says which part of it a parameter belongs to; it knows no loss, no data
and no round. A new one is one file here and one line under `wardround.models` in `pyproject.toml`.
"""
