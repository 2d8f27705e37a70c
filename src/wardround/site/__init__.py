"""The hospital's gate: what comes in is accepted here, what goes out is released here.

Right of this room: the only part that talks to a coordinator, and the only one that holds a site's keys. It imports `study`, `data`,
`learning`, `combining`, `privacy` and `record`, never `coordinator`, and loads no torch. `release` is the only door: bound, encode,
noise, mask, log, then send. Classes here stay under 150 lines, because a gate must be small enough to be read by the person who answers
for it.
"""
