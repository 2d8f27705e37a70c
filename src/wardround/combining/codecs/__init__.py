"""Ways in which the sums of a training travel in fewer bytes, one file each.

A codec is numpy only, pure, and knows nothing of models. A new one is one file here and one line under `wardround.codecs` in
`pyproject.toml`.
"""
