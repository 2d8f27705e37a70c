"""Return what came, plus the number of this site, without training, by NVFLARE's Client API."""

import sys
import time

import numpy as np
import nvflare.client as flare

flare.init()
number = np.float32(flare.get_site_name().removeprefix("site"))
while flare.is_running():
    model = flare.receive()
    if model is None:
        break
    time.sleep(float(sys.argv[1]))
    flare.send(flare.FLModel(params={name: array + number for name, array in model.params.items()}, metrics={}))
