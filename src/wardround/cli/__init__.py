"""The commands: one file a noun.

Right of this room: it reads the environment, talks to a terminal and turns errors into one sentence and an exit code; nothing else here
decides anything. It may import every other room, and imports them inside the commands, so that `--help` answers at once.
"""
