"""Drafts: bills that are due and whose grace is not over.

Owns: listing them, issuing them early, and the duty that issues by itself what is due and says what has become a draft.
Does not own: what stands on a bill (`run.py`), how long the grace is (billing terms of customers).
Laws: a draft is computed when it is asked for, and kept nowhere: it has no number and no entry in the ledger, and is
what a billing run would issue at that moment, to the last digit.
"""
