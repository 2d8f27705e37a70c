"""Ask a record its questions, one file each; every check is a pure function from `Evidence` to a line.

    evidence.py    logs parsed and re-hashed: what the other checks read
    logs.py        each log by itself: entries, checkpoints, keys
    approvals.py   who agreed to what, and when
    messages.py    do both sides tell of the same messages
    rows.py        on which rows was each answer computed
    heads.py       do the logs commit to each other; are the layouts there
    rounds.py      do the rounds follow one another
    released.py    are model, result and report those that were recorded

A new question is one more file here and one more line in `verify.py`.
"""
