"""Statistics without training: each is one algorithm with additive answers, and one file.

`statistic.py` has what they share: which counts may leave a site, and how counts are written. What needs more than + - * / and sqrt
(p values, products of survival factors) is worked out in `told`, when the result is written, never in a phase.
"""
