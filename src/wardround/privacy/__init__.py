"""The mathematics of privacy: clipping, noise, and what they cost.

Right of this room: mathematics. It imports `study`; no disk, no network. `disclosure.py` holds small counts back. Here will live `clip.py`
(one bound per patient), `noise.py` (integer noise from a cryptographic generator), `accountant.py` (epsilon and delta of a study), and the
only two files with torch, `dpsgd.py` (gradients clipped per patient) and `leakage.py` (the leak test that gates a release).
"""
