"""What was agreed: the protocol of a study and the messages that carry it out.

Right of this room: it imports nothing of ours, no torch, no network, no disk. Every other room speaks in its types.
"""
