"""The crash harness: real processes, real faults, and clients that remember what they were promised.

`README.md` says what is proven and how. `python -m tests.crash --seed 7 --points 500` runs it, `make crash` the long
one, `test_crash.py` the short one. Linux only.
"""
