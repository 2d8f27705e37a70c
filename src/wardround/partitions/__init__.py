"""Divide one real source over simulated hospitals: one file a way of dividing, each an entry point of `wardround.partitioners`.

Right of this room: it reads and writes files on the researcher's own machine and nothing else; no hospital's program enters it. It imports
`study` and `data`. Patients are divided, never rows of one patient.
"""
