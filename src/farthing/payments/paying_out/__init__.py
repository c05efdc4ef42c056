"""Paying out: how money that a gateway took comes to the bank.

Owns: the gateway's movements as it tells them, its payouts, which movements each of them sums, and which entry of a
bank statement brought it.
Laws: a movement is in one payout or in none yet; a payout arrives once, and an entry of the bank is one payout's; what
stands on provider_clearing is what gateways hold, what is on its way, and what only one side knows of.
"""
