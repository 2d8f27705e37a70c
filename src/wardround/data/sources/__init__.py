"""Where records come from: one file a kind of source, found by its name in the site file.

Right of this room: the loader's. A source reads; it never writes, and never opens a connection that leaves the hospital. A new one is one
file here and one line under `wardround.sources` in `pyproject.toml`.
"""
