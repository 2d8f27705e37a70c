"""How sites' updates are combined where some sites may be hostile: one rule a file.

Each is a combiner of its own name in `rounds.combine`, and a `Rule` that an own script can use. What they share stands in `robust.py`
(how they are asked, nearest-neighbour mixing) and `stacked.py` (arithmetic on all sites' updates).
"""
