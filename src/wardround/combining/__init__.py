"""How answers become one total: fixed-point sums, admission, rules.

Right of this room: arithmetic and message machines. It imports `study`, opens no connection and touches no disk; an engine carries what it
says. Sums are integers, so no order of arrival changes a bit. The secure sum will live in `secure/`.
"""
