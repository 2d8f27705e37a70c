"""Compare hospitals before a study begins: what each tells of its data, and what is odd about it beside the others.

Like all of `learning`: snapshot in, answer out; numpy only.
"""
