"""Write the three hospitals' rows anew: made-up patients, the same each time."""

from __future__ import annotations

import csv
import random
from pathlib import Path

HERE = Path(__file__).parent
SIZES = {"north": (180, 62.0), "south": (140, 70.0), "east": (90, 66.0)}


def main() -> None:
    """Write one file a hospital."""
    for name, (count, middle) in SIZES.items():
        rng = random.Random(f"synthetic {name}")
        with (HERE / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["patient", "age", "creatinine", "sex", "admission", "days", "discharged"])
            for number in range(count):
                age = min(max(round(rng.gauss(middle, 14)), 18), 107)
                emergency = rng.random() < 0.25 + age / 250
                creatinine = "" if rng.random() < 0.12 else f"{min(rng.lognormvariate(-0.1 + age / 300, 0.35), 19):.2f}"
                stay = min(int(rng.expovariate(1 / (10 if emergency else 6))), 60)
                seen = rng.randint(10, 60)
                sex, came = rng.choice(["female", "male"]), "emergency" if emergency else "planned"
                writer.writerow(
                    [f"synthetic-{name}-{number}", age, creatinine, sex, came, min(stay, seen), "yes" if stay <= seen else "no"]
                )


if __name__ == "__main__":
    main()
