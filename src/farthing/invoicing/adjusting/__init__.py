"""Lines that are made of other lines: coupons, commitments, the plan's minimum."""
