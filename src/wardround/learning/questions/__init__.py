"""What is asked of a model: its loss, its metrics as sums, and how the sums are read.

Right of this room: the worker's. Loss and metrics belong to the question and never to the model. A new one is one file here and one line
under `wardround.questions` in `pyproject.toml`.
"""
