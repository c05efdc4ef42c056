"""Measurements of Farthing: `python -m benchmarks`, or `make bench`. README.md says what each number means.

    machine      what it is run on, and what a sync costs there
    workload     the events, from a fixed seed, and what every answer must be
    bench        sizes, one temporary data directory, the month of events that several benchmarks share
    measuring    seconds, processor time, memory, medians and spreads
    report       the table and the JSON

and one file for each benchmark: a function `run(bench) -> list[Row]`, and `ABOUT`, what it compares with.
"""
