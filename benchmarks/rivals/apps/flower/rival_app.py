"""Send a model around without training, as a Flower app: sites add their number, the coordinator averages and notes the seconds."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

LAYERS = 10
coordinator = ServerApp()
site = ClientApp()


@site.train()
def train(message: Message, context: Context) -> Message:
    """Return what came, plus the number of this site, so that no two answers are the same bytes."""
    time.sleep(float(context.run_config["pause"]))
    number = np.float32(context.node_config["number"])
    arrays = ArrayRecord([array + number for array in message.content["arrays"].to_numpy_ndarrays()])
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)


class Timed(FedAvg):
    """Average, and keep the seconds between sending a model and having the next."""

    def configure_train(self, server_round, arrays, config, grid):
        """Start the clock of a round."""
        self.began = time.perf_counter()
        messages = super().configure_train(server_round, arrays, config, grid)
        self.asked = len(messages)
        return messages

    def aggregate_train(self, server_round, replies):
        """Average, stop the clock, and write down the round."""
        replies = list(replies)
        answered = sum(not reply.has_error() for reply in replies)
        arrays, metrics = super().aggregate_train(server_round, replies)
        seconds = time.perf_counter() - self.began
        expected = self.first + server_round * (self.asked + 1) / 2
        right = arrays is not None and abs(first(arrays) - expected) < 1e-2
        one = {"round": server_round, "seconds": seconds, "asked": self.asked, "answered": answered, "right": bool(right)}
        with self.figures.open("a") as file:
            file.write(json.dumps(one) + "\n")
        return arrays, metrics


def first(arrays):
    """Return the first number of a model; the whole is not unpacked, as that would count as memory of Flower."""
    return float(next(iter(arrays.values())).numpy()[0])


@coordinator.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    config = context.run_config
    sites, least = int(config["sites"]), int(config["least"])
    size = max(1, round(float(config["megabytes"]) * 1e6 / 4 / LAYERS))
    strategy = Timed(fraction_evaluate=0.0, min_train_nodes=least, min_available_nodes=least)
    strategy.figures = Path(str(config["figures"]))
    while len(list(grid.get_node_ids())) < sites:
        time.sleep(0.5)
    initial = ArrayRecord([np.random.default_rng(layer).random(size, dtype=np.float32) for layer in range(LAYERS)])
    strategy.first = first(initial)
    strategy.start(grid=grid, initial_arrays=initial, num_rounds=int(config["rounds"]), timeout=3600)
