"""Encrypt a million numbers with TenSEAL's CKKS and serialise them, as a hospital would before it sends them. Prints JSON lines."""

import json
import sys
import time

import numpy as np
import tenseal as ts

NUMBERS, DEGREE, MODULI = 1_000_000, 8192, [60, 40, 60]


def encrypt(kind, values):
    """Return CPU seconds and bytes; vectors as long as a ciphertext has slots, one thread, the library's own compression."""
    context = ts.context(ts.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=MODULI, encryption_type=kind, n_threads=1)
    context.global_scale = 2.0**40
    slots = DEGREE // 2
    pieces = [values[at : at + slots].tolist() for at in range(0, len(values), slots)]  # it takes lists; not counted
    began = time.process_time()
    size = sum(len(ts.ckks_vector(context, piece).serialize()) for piece in pieces)
    return time.process_time() - began, size


def main(times):
    """Measure both kinds of keys so many times."""
    values = np.random.default_rng(7).normal(0, 0.05, NUMBERS)
    for _ in range(times):
        for name, kind in (("public", ts.ENCRYPTION_TYPE.ASYMMETRIC), ("symmetric", ts.ENCRYPTION_TYPE.SYMMETRIC)):
            seconds, size = encrypt(kind, values)
            print(json.dumps({"key": name, "seconds": seconds, "bytes": size}))


main(int(sys.argv[1]))
