"""The values that every room shares: money, quantity, rounding, period, ids, errors.

Owns: exact decimal arithmetic, ISO 4217 minor units, the only module that rounds, half-open
periods in a time zone, time-ordered ids, the error tree.
Does not own: any rule of the business.
Laws: standard library only; no I/O, no clock, no randomness, no float.
"""
