"""How messages travel between the coordinator and the sites.

Right of this room: transport. An engine sends tasks and yields updates and refusals, and knows nothing of models or sums. `inprocess`
keeps all on one machine; NATS for hospitals and signed folders for air gaps will stand beside it under the same contract tests.
"""
