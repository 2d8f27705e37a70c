"""The work at a site: a snapshot in, an answer of additive sums out.

Right of this room: it is the worker. It sees the snapshot and the ask, and has no network. It imports `study`, `data` and `privacy`.
Torch is imported inside functions only in every module that an entry point leads to, since the gate and the coordinator load those
modules too.
"""
