"""Hand the model to NVFLARE's FedAvg and write down the seconds of its rounds; FedAvg itself is theirs and unchanged."""

import json
import time

import numpy as np
from nvflare.app_common.abstract.model import make_model_learnable
from nvflare.app_common.abstract.model_persistor import ModelPersistor
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

LAYERS = 10


class Timed(ModelPersistor):
    """Load a model of random numbers, save nothing, and keep the seconds from the start of a round to its mean."""

    def __init__(self, megabytes: float, sites: int, figures: str):
        super().__init__()
        self.size = max(1, round(megabytes * 1e6 / 4 / LAYERS))
        self.sites, self.figures = sites, figures

    def load_model(self, fl_ctx):
        """Return ten layers of random numbers."""
        layers = {f"layer{layer}": np.random.default_rng(layer).random(self.size, dtype=np.float32) for layer in range(LAYERS)}
        self.first = float(layers["layer0"][0])
        return make_model_learnable(weights=layers, meta_props={})

    def save_model(self, model_learnable, fl_ctx):
        """Save nothing: the other rival saves nothing either."""

    def handle_event(self, event_type, fl_ctx):
        """Start the clock of a round and stop it."""
        super().handle_event(event_type, fl_ctx)
        if event_type == AppEventType.ROUND_STARTED:
            self.began = time.perf_counter()
        elif event_type == AppEventType.AFTER_AGGREGATION:
            seconds = time.perf_counter() - self.began
            number = fl_ctx.get_prop(AppConstants.CURRENT_ROUND) + 1
            result = fl_ctx.get_prop(AppConstants.AGGREGATION_RESULT)
            expected = self.first + number * (self.sites + 1) / 2
            right = bool(result.params) and abs(float(result.params["layer0"][0]) - expected) < 1e-2
            one = {"round": number, "seconds": seconds, "asked": self.sites, "answered": result.meta["nr_aggregated"], "right": right}
            with open(self.figures, "a") as file:
                file.write(json.dumps(one) + "\n")
