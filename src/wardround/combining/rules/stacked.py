"""Do arithmetic on the updates of all sites at once: how far they lie from each other, and their averages.

A stack holds one tensor of every site, in order of site name. What is summed over sites is added one site after the other in that order,
so that the same answers give the same bits. An update is taken as one long vector, whatever tensors it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wardround.study.arrays import Arrays

Stacks = dict[str, np.ndarray]
"""By tensor, float64 [sites, *shape]."""


def stacked(updates: Mapping[str, Arrays]) -> Stacks:
    """Return the sites' updates tensor by tensor, in order of site name."""
    sites = sorted(updates)
    return {name: np.stack([np.asarray(updates[site][name], dtype=np.float64) for site in sites]) for name in sorted(updates[sites[0]])}


def apart(stacks: Stacks) -> np.ndarray:
    """Return the squared distance of every two sites' updates, float64 [sites, sites]; worked out from differences, so none is negative."""
    count = sites_in(stacks)
    found = np.zeros((count, count))
    for one in range(count):
        for other in range(one):
            found[one, other] = found[other, one] = sum(float(np.sum(np.square(values[one] - values[other]))) for values in stacks.values())
    return found


def from_point(stacks: Stacks, point: Arrays) -> np.ndarray:
    """Return the distance of every site's update from a point, float64 [sites]."""
    found = np.zeros(sites_in(stacks))
    for name, values in stacks.items():
        found += np.sum(np.square(values - point[name]).reshape(len(values), -1), axis=1)
    return np.sqrt(found)


def averaged(stacks: Stacks, sites: np.ndarray) -> dict[str, np.ndarray]:
    """Return the plain average over some sites, by number."""
    return {name: np.sum(values[np.sort(sites)], axis=0) / len(sites) for name, values in stacks.items()}


def nearest(distances: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of the so many nearest for each row, [rows, count]; of two at one distance the first by name."""
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


def mixed(stacks: Stacks, hostile: int) -> Stacks:
    """Return each site's update replaced by the average of the n - f nearest to it, itself among them.

    What honest sites have in common stays, what sets them apart shrinks, and a hostile update that lies far away can no longer stand alone.

    Source: Allouah et al., Fixing by mixing: a recipe for optimal Byzantine ML under heterogeneity, AISTATS 2023, algorithm 2.

    Args:
        stacks: of n sites.
        hostile: f, how many may be hostile.
    """
    among = nearest(apart(stacks), sites_in(stacks) - hostile)
    rows = [averaged(stacks, chosen) for chosen in among]
    return {name: np.stack([row[name] for row in rows]) for name in stacks}


def sites_in(stacks: Stacks) -> int:
    """Return how many sites there are."""
    return len(next(iter(stacks.values())))
