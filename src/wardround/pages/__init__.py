"""What people read: the report of a study, made from stores and records.

Right of this room: it reads what is stored and recorded, computes no new result and loads no torch. Each page is one HTML file that works
offline and prints; per-site counts under 10 are suppressed before they reach a template.
"""
