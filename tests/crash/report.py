"""The report of a run, for readers: what was done, what was checked, what came of it, how to repeat it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.crash.results import Point, Results

_LANES = {
    "worker": "An API worker, while clients send",
    "engine": "The engine, while it seals",
    "ingest": "`farthing ingest`, until the file is in",
    "server": "The whole server: supervisor, PostgreSQL, everything at once",
    "quiet": "Damage, full disks, power cuts, billing, rolling restarts: one at a time, each judged",
}
_KINDS = {
    "armed": "faults inside the processes, at the Nth call of a function or around a commit",
    "lean": "the same; log files are removed as soon as they are sealed",
    "traced": "faults by `strace`, at the Nth system call of processes that know nothing of it",
    "tmpfs": "as the first, on a small file system that fills up",
    "image": "as the first, on an ext4 file system whose power is cut",
    "plain": "`python -m farthing serve` as anybody would start it, with the sizes of production",
}


def write_report(results: Results, path: Path) -> None:
    """Write it, in place of the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_lines(results)) + "\n")


def _lines(results: Results) -> Iterable[str]:
    seed = results.runs[0]["seed"]
    yield f"# {results.hits():,} crash points, seed {seed}"
    yield ""
    yield _outcome(results)
    yield ""
    yield from _table(("what", "how much"), _totals(results))
    yield ""
    yield "What a point is, what is checked after it and how: [tests/crash](../../tests/crash/README.md)."
    yield ""
    yield from _begun(results)
    yield ""
    yield "## By fault"
    yield ""
    yield "A fault that was drawn and not met (a process ended before its Nth call) is a miss, and no point."
    for lane, title in _LANES.items():
        yield from _faults(title, [point for point in results.points if point.lane == lane])
    yield ""
    yield "## By kind of site"
    yield ""
    yield from _table(("site", "", "points", "rounds", "judgements"), _by_kind(results))
    yield ""
    yield "## What clients were told"
    yield ""
    yield "`none`: the connection was lost, and the events were sent again. Refusals are answers too: 429 and 503."
    yield ""
    answers = sorted(results.answers().items(), key=lambda item: -item[1])
    yield from _table(("answer", "requests"), [(f"`{what}`", f"{times:,}") for what, times in answers])


def _outcome(results: Results) -> str:
    if broken := results.broken():
        return f"**A law was broken.** The run ended there:\n\n```\n{broken}\n```"
    return (
        "**Lost: 0. Counted twice: 0.** After every round each acknowledged event was counted exactly once or"
        " stood in quarantine with its reason, the account added up, usage and invoices were those of exactly the"
        " counted events, and `farthing doctor` was content."
    )


def _totals(results: Results) -> list[tuple[str, str]]:
    sites = results.sites
    seconds = sum(end.seconds for end in results.ends)
    answers = [point.seconds_to_answer for point in results.points if point.seconds_to_answer is not None]
    sealed = [judged.seconds_to_sealed for judged in results.rounds if judged.seconds_to_sealed is not None]
    return [
        ("crash points (faults that happened)", f"{results.hits():,}"),
        ("kinds of faults", f"{len({point.fault for point in results.points if point.hit})}"),
        ("rounds", f"{len(results.rounds):,}"),
        ("judgements of everything", f"{sum(judged.judgements for judged in results.rounds) + len(sites):,}"),
        ("data directories", f"{len(sites):,}"),
        ("deliveries acknowledged", f"{sum(site.acknowledged for site in sites):,}"),
        ("counted", f"{sum(site.counted for site in sites):,}"),
        ("duplicates", f"{sum(site.duplicate for site in sites):,}"),
        ("quarantined", f"{sum(site.quarantined for site in sites):,}"),
        ("invoices held against the events", f"{sum(site.invoices for site in sites):,}"),
        ("first good answer after a fault, median / 99th percentile", _seconds(answers)),
        ("everything sealed after a round's last fault, likewise", _seconds(sealed)),
        ("duration", f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds / 60:.0f} minutes"),
    ]


def _seconds(values: Sequence[float]) -> str:
    if not values:
        return "not measured"
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:.2f} s / {ordered[int(len(ordered) * 0.99)]:.2f} s"


def _begun(results: Results) -> Iterable[str]:
    yield "## The run"
    yield ""
    rows = []
    for number, run in enumerate(results.runs):
        end = results.ends[number] if number < len(results.ends) else None
        rows.append((run["commit"], run["machine"], end.why if end else "it was killed"))
    yield from _table(("commit", "machine", "ended by"), rows)
    yield ""
    seed = results.runs[0]["seed"]
    yield "The faults are drawn from the seed; when exactly each strikes is up to the machine. To go on from here:"
    yield ""
    yield f"    python -m tests.crash --seed {seed} --first-round {results.next_round()} --points 10000"


def _faults(title: str, points: Sequence[Point]) -> Iterable[str]:
    if not points:
        return
    hits, drawn = (
        Counter(point.fault for point in points if point.hit),
        Counter(point.fault for point in points),
    )
    yield ""
    yield f"### {title}"
    yield ""
    rows = [(fault, f"{hits[fault]:,}", f"{drawn[fault] - hits[fault]:,}") for fault in sorted(drawn)]
    rows.append(("all", f"{hits.total():,}", f"{drawn.total() - hits.total():,}"))
    yield from _table(("fault", "points", "misses"), rows)


def _by_kind(results: Results) -> list[tuple[str, ...]]:
    rows = []
    for kind, meaning in _KINDS.items():
        rounds = [judged for judged in results.rounds if judged.kind == kind]
        points = sum(point.hit for point in results.points if point.kind == kind)
        if points:
            judgements = sum(judged.judgements for judged in rounds)
            rows.append((kind, meaning, f"{points:,}", f"{len(rounds):,}", f"{judgements:,}"))
    return rows


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
