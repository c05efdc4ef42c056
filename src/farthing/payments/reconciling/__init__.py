"""Reconciling: every movement of a gateway is one of ours, and every one of ours is a movement of the gateway.

Owns: the comparison, both ways, and what it finds. It changes nothing.
"""
