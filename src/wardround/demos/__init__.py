"""Studies on real data that come with the program: one file a demo, each with a study file beside it.

A demo writes what hospitals would have, tables and site files, into a folder; what happens then is what happens to anybody's own data. It
imports `study` alone; `cli` runs it.
"""
