"""Answering disputes: what is known about a disputed payment is told to the payer's bank, through the gateway.

Owns: the answer, written from the evidence before it is sent, and what became of it.
Laws: a dispute is answered once; an answer that was sent and not confirmed is asked about, and only sent again, under
the same name, if the gateway has never heard of it.
"""
