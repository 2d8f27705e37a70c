"""Write the model and the three hospitals' rows anew: a made-up risk score and made-up patients, the same each time.

The model stands in for one that a hospital bought: age, systolic pressure and sex in, the probability of a stroke within a year out. At
the hospital "east" fewer have one than the model says, so that the passport has something to show. The model needs the package `onnx`.
"""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

HERE = Path(__file__).parent
SIZES = {"north": (420, 66.0, 0.0), "south": (360, 70.0, 0.0), "east": (240, 72.0, -0.9)}
WEIGHTS, BIAS = (0.07, 0.025, 0.45), -10.0


def main() -> None:
    """Write one file a hospital, and the model where `onnx` is installed."""
    for name, (count, middle, shift) in SIZES.items():
        rng = random.Random(f"synthetic {name}")
        with (HERE / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["patient", "age", "systolic", "sex", "ward", "stroke"])
            for number in range(count):
                age = min(max(round(rng.gauss(middle, 11)), 18), 104)
                systolic = min(max(round(rng.gauss(138, 19)), 80), 230)
                sex, ward = rng.choice(["female", "male"]), rng.choice(["medical", "surgical", "surgical"])
                known = rng.random() > 0.08
                logit = WEIGHTS[0] * age + WEIGHTS[1] * systolic + WEIGHTS[2] * (sex == "male") + BIAS + shift
                ill = "yes" if rng.random() < 1 / (1 + math.exp(-logit)) else "no"
                writer.writerow([f"synthetic-{name}-{number}", age, systolic if known else "", sex, ward, ill])
    try:
        model()
    except ImportError:
        print("The model stays as it is: the package onnx is not installed.")


def model() -> None:
    """Write the model: a matrix product with a bias, then the logistic function."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    constants = [
        numpy_helper.from_array(np.array(WEIGHTS, dtype=np.float32).reshape(3, 1), "w"),
        numpy_helper.from_array(np.array([BIAS], dtype=np.float32), "b"),
    ]
    nodes = [helper.make_node("Gemm", ["rows", "w", "b"], ["logit"]), helper.make_node("Sigmoid", ["logit"], ["risk"])]
    takes = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 3])
    gives = helper.make_tensor_value_info("risk", TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph(nodes, "risk", [takes], [gives], constants)
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (HERE / "model.onnx").write_bytes(found.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
