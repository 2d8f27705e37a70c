"""Step like FedAdam, with a running square that changes by a bounded amount: FedYogi.

Where updates are rare or uneven, Adam's running square forgets too fast; Yogi's moves towards a new square by a share of that square alone.

Source: Reddi et al., Adaptive federated optimization, ICLR 2021, algorithm 2; Zaheer et al., Adaptive methods for nonconvex optimization,
NeurIPS 2018.
"""

from __future__ import annotations

import numpy as np

from wardround.learning.servers.adam import BETA2, Adam


class Yogi(Adam):
    """Keep running means as Adam does, the second by Yogi's rule."""

    def second(self, before: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return before - (1 - beta2) x square x sign(before - square)."""
        return np.asarray(before - (1 - BETA2) * square * np.sign(before - square))
