"""Catalog: what is counted and what it costs, before any customer comes in.

Owns: meters, rate cards, plans and their versions, coupons; how their definitions are read and stored.
Does not own: what a price means (rating), who is on a plan (customers), how much was used (usage).
Laws: a meter never changes once written, nor does a coupon or a published plan version: a plan moves
on by a new version; what is written is read back as the same value (`parse(json(x)) == x`); every
number in a definition is exact.
"""
