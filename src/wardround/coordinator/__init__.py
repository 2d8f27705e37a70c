"""The coordinating centre: opens rounds, collects what sites release, closes rounds.

Right of this room: it sees protocols, tasks, sealed updates and totals, never a record of a patient. It imports `study`, `data`,
`learning`, `combining`, `privacy` and `record`, never `site`, and loads no torch. The whole of a round can be read in `rounds.py` on one
screen.
"""
