"""Add up what nobody may see: the secure sum, by which the coordinator learns a total and no hospital's own sums.

Right of this room: arithmetic and message machines, as for all of `combining`. Nothing here opens a connection or touches a disk; the
site's gate keeps a session and hands in how to sign, an engine carries what is said. Read in this order: `words` (what is said),
`session` (a site's side), `opening` (the coordinator's arithmetic), `masked` (the combiner that drives the five exchanges), and below them
`keys`, `shamir` and `masks`.

Source: Bonawitz et al., Practical secure aggregation for privacy-preserving machine learning, CCS 2017, figure 4 with the consistency
round (active adversaries); Pasquini et al., Eluding secure aggregation in federated learning via model inconsistency, CCS 2022, for why
masks are bound to what was asked.
"""
