"""What happened: append-only Merkle logs, signed checkpoints, the portable record and its verifier.

Right of this room: the standard library, `cryptography` and `study`; no network. It never sees an answer in the clear: entries hold
salted commitments, counts of bytes, bands and digests.

    entries.py     what an entry may say, as one table             merkle.py     the tree and its proofs
    log.py         append, head, checkpoint; rows in SQLite        note.py       signed notes and checkpoints
    bundle.py      the record as a folder of text                  envelope.py   signatures by persons and parties
    verify.py      check a folder, offline                         commitment.py salted hashes of what nobody may guess
    report.py      what the verifier found, line by line           checks/       one file a question that the verifier asks

Source: RFC 6962 section 2 (trees), RFC 8785 (canonical JSON), C2SP signed-note 1.0.0 and tlog-checkpoint 1.0.0, DSSE 1.0.
"""
