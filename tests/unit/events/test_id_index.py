"""The index of counted events: exact though keys collide, and never shorter than what was written."""

import hashlib
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.events.ids.index import (
    RUN_IDS_MERGED_MAX,
    Hashes,
    Identities,
    IdRun,
    find,
    merged,
    open_run,
    runs_to_merge,
    write_merged,
    write_run,
)
from farthing.events.store.identity_sql import HASH_MACROS
from farthing.kernel.errors import Corrupt

Entry = tuple[int, int, int]  # key, check, content
LARGEST = 2**64 - 1


def hashes(numbers: list[int]) -> Hashes:
    return np.array(numbers, dtype=np.uint64)


def identities(entries: list[Entry]) -> Identities:
    return Identities(*(hashes([entry[place] for entry in entries]) for place in range(3)))


def run_of(entries: list[Entry], run_id: str = "run") -> IdRun:
    ordered = sorted(entries)
    return IdRun(run_id, *(hashes([entry[place] for entry in ordered]) for place in range(3)))


def found(runs: list[IdRun], wanted: list[tuple[int, int]]) -> list[int | None]:
    known, contents = find(runs, hashes([key for key, _ in wanted]), hashes([check for _, check in wanted]))
    return [int(content) if known else None for known, content in zip(known, contents, strict=True)]


# Few keys, so that they collide: with each other, within a run and between runs.
keys = st.sampled_from([0, 1, 2, 3, 2**63, LARGEST - 1, LARGEST])
checks = st.sampled_from([0, 1, 2, 2**63, LARGEST])
contents = st.integers(0, LARGEST)
indexes = st.lists(st.dictionaries(st.tuples(keys, checks), contents, min_size=1, max_size=15), max_size=5)


@given(indexes, st.lists(st.tuples(keys, checks), max_size=20))
def test_find_agrees_with_a_dict(
    runs: list[dict[tuple[int, int], int]], wanted: list[tuple[int, int]]
) -> None:
    known: dict[tuple[int, int], int] = {}
    distinct = []
    for run in runs:  # As in life, an identity stands in one run only.
        entries = [
            (key, check, content) for (key, check), content in run.items() if (key, check) not in known
        ]
        known |= {(key, check): content for key, check, content in entries}
        if entries:
            distinct.append(run_of(entries))
    assert found(distinct, wanted) == [known.get(identity) for identity in wanted]


@given(indexes.filter(len), st.integers(1, 40))
def test_a_merge_in_parts_holds_what_its_runs_hold(
    indexes: list[dict[tuple[int, int], int]], ids_at_once: int
) -> None:
    entries = [[(*identity, content) for identity, content in index.items()] for index in indexes]
    parts = [
        list(zip(part.keys.tolist(), part.checks.tolist(), part.contents.tolist(), strict=True))
        for part in merged([run_of(some) for some in entries], ids_at_once)
    ]
    together = [entry for part in parts for entry in part]
    assert sorted(together) == sorted(entry for some in entries for entry in some)
    assert [key for key, _, _ in together] == sorted(key for key, _, _ in together)
    # What has one key stays together, so a part may be larger than asked for by that, and by one of each run.
    assert all(len({key for key, _, _ in part}) <= ids_at_once + len(entries) for part in parts)


def test_a_merged_run_is_written_as_the_same_ids_would_be_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    every = [[(int(key), 1, 2) for key in rng.integers(0, 2**63, 500)] for _ in range(8)]
    checksum = write_merged(tmp_path / "merged.ids", [run_of(entries) for entries in every])
    together = [entry for entries in every for entry in entries]
    assert checksum == write_run(tmp_path / "once.ids", identities(together))
    assert (tmp_path / "merged.ids").read_bytes() == (tmp_path / "once.ids").read_bytes()


def test_equal_keys_are_told_apart_by_their_checks() -> None:
    run = run_of([(5, check, 100 + check) for check in range(50)] + [(4, 0, 1), (6, 0, 2)])
    assert found([run], [(5, 49), (5, 0), (5, 50), (4, 0), (6, 0), (4, 1), (7, 0), (5, 25)]) == [
        149, 100, None, 1, 2, None, None, 125,
    ]  # fmt: skip
    assert found([], [(5, 1)]) == [None]
    assert found([run], []) == []


@given(st.dictionaries(st.tuples(keys, checks), contents, min_size=1, max_size=30))
def test_a_run_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[tuple[int, int], int]
) -> None:
    path = tmp_path_factory.mktemp("ids") / "1" / "run.ids"
    write_run(path, identities([(key, check, content) for (key, check), content in entries.items()]))
    run = open_run(path, "run", len(entries))
    assert run.keys.tolist() == sorted(key for key, _ in entries)
    assert found([run], list(entries)) == list(entries.values())


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "run.ids"
    write_run(path, identities([(1, 2, 3)]))
    with pytest.raises(FileExistsError):
        write_run(path, identities([(1, 2, 4)]))


def test_a_run_that_is_not_what_was_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.ids"
    write_run(path, identities([(number, number, number) for number in range(100)]))
    whole = path.read_bytes()
    magic = bytes([whole[0] ^ 1]) + whole[1:]
    fewer = whole[:16] + np.uint64(99).tobytes() + whole[24:]
    for damaged in (b"", whole[:10], whole[:24], whole[:-1], whole[:-24], whole + b"\0", magic, fewer, None):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        with pytest.raises(Corrupt) as refused:
            open_run(path, "run", 100)
        assert refused.value.code == "id_run_damaged"
        path.touch()
    path.write_bytes(whole)
    assert len(open_run(path, "run", 100)) == 100
    with pytest.raises(Corrupt):
        open_run(path, "run", 101)


def test_which_runs_are_merged() -> None:
    def sizes(*numbers: int) -> list[tuple[str, int]]:
        return [(f"r{place}", size) for place, size in enumerate(numbers)]

    assert runs_to_merge([]) == []
    assert runs_to_merge(sizes(*[1] * 7)) == []
    assert runs_to_merge(sizes(*[1] * 8)) == [f"r{place}" for place in range(8)]
    assert runs_to_merge(sizes(*[1, 2, 3, 4, 5, 6, 7], 8)) == []  # eight is of the next class
    assert runs_to_merge(sizes(*[100] * 7, 1, *[100])) == [f"r{place}" for place in (*range(7), 8)]
    assert runs_to_merge(sizes(*[RUN_IDS_MERGED_MAX + 1] * 20)) == []
    # However events trickle in, there are never many runs to look through.
    runs: list[int] = []
    for _ in range(5000):
        runs.append(1)
        while chosen := runs_to_merge(sizes(*runs)):
            places = {int(name[1:]) for name in chosen}
            runs = [size for place, size in enumerate(runs) if place not in places] + [
                sum(size for place, size in enumerate(runs) if place in places)
            ]
    assert sum(runs) == 5000
    assert len(runs) <= 7 * 5


@pytest.mark.parametrize("source", ["gateway", "", "a:b", "é👩\u200d👧", "12"])
@pytest.mark.parametrize("subject", ["acme", "", "ü", None])
def test_hashes_are_what_they_were_on_the_day_they_were_written(source: str, subject: str | None) -> None:
    """Runs on disk are compared with them for ever: the MD5 of these texts, read with the least byte first."""

    def number(text: str) -> int:
        return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest(), "little")

    connection = duckdb.connect()
    for macro in HASH_MACROS:
        connection.execute(macro)
    hashed = connection.execute(
        "SELECT event_identity($1, 'e-1'), event_content('call', $2, 1767225600000000, '{\"n\": 1}'), "
        "event_content('call', $2, NULL, '{}'), event_identity($1, NULL), event_identity(NULL, 'e-1')",
        [source, subject],
    ).fetchone()
    told = ":" if subject is None else f"{len(subject.encode())}:{subject}"
    assert hashed == (
        number(f"{len(source)}:{source}e-1"),
        number(f'4:call{told}1767225600000000:{{"n": 1}}'),
        number(f"4:call{told}-:{{}}"),
        None,
        None,
    )
