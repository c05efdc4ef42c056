"""The crash harness: real processes, real faults, and clients that remember what they were promised.

    clients (own process) --HTTP--> farthing serve: supervisor, 2 workers, engine, PostgreSQL
      | journal, synced,                       ^                 farthing ingest, bill
      | outside the system                     | kill -9, EIO, ENOSPC, power cut, damage, restart
      v                                        |
    oracle: after every round, journal = segments = usage = account = invoices, and `doctor` is content

    traffic, journal, client   what is sent, what is written down, who sends it
    injection, victim          faults inside a process at its Nth call of os, or around a commit
    zygote                     commands as forks of one process that has imported everything already
    canaries                   the program with a mistake in it, which the harness must find
    house                      one data directory and the processes on it
    outside, oracle            what the system holds, read without it; what it should hold
    faults/                    every fault, and how it is brought about
    schedule, run, report      which fault when, from a seed; rounds; what is published

`python -m tests.crash --seed 7 --points 500` runs it, `make crash` the long one. Linux only.
"""
