"""Local data: checks it against the contract, splits it by patient and writes an immutable snapshot.

Right of this room: it is the loader. It may read the hospital's disk and local network, and is the only room that may; nothing it reads
leaves it except as a snapshot on the same disk. It imports `study`. Reports name fields and counts, never a value.
"""
