"""Server optimisers: one file each.

Each takes the mean update for a gradient and makes the next parameters of it, by + - * / and sqrt alone, so that every site can repeat it
and any processor gives the same bits.

Source: Reddi et al., Adaptive federated optimization, ICLR 2021, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from wardround.learning.servers.adagrad import Adagrad
from wardround.learning.servers.adam import Adam
from wardround.learning.servers.momentum import Momentum
from wardround.learning.servers.optimiser import ServerOptimiser
from wardround.learning.servers.yogi import Yogi

SERVERS: Mapping[str, ServerOptimiser] = MappingProxyType({"sgd": Momentum(), "adam": Adam(), "yogi": Yogi(), "adagrad": Adagrad()})
"""By the name that stands in a plan as `server_optimiser`."""
