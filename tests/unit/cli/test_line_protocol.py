"""`farthing rate` and `farthing periods` as a program on the other end of a pipe sees them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PRICE = {"model": "graduated", "tiers": [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0.005"}]}
GOOD = json.dumps({"price": PRICE, "quantity": "1500"}).encode()
GOOD_ANSWER = {
    "amount": "12.5",
    "charges": [
        {"quantity": "1000", "unit_price": "0.01", "amount": "10", "reason": "tier 1"},
        {"quantity": "500", "unit_price": "0.005", "amount": "2.5", "reason": "tier 2"},
    ],
}


def answers(command: str, *lines: bytes, end: bytes = b"\n") -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-m", "farthing", command],
        input=b"\n".join(lines) + end,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    return [json.loads(line) for line in done.stdout.splitlines()]


def per_unit(quantity: bytes) -> bytes:
    return b'{"price":{"model":"per_unit","unit_price":"1"},"quantity":' + quantity + b"}"


def test_every_line_is_answered_by_one_line_in_order() -> None:
    garbage = [
        b"",
        b"   ",
        b"hello",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"42",
        b"NaN",
        b'{"price":',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"price":{"model":"per_unit","unit_price":"1"},"quantity":"1","quantity":"2"}',
        b'{"price":{"model":"per_unit","unit_price":"\\ud800"},"quantity":"1"}',
        b'{"price":{"model":"per_unit","unit_price":"1"},"quantity":NaN}',
        per_unit(b"9" * 5000),
        per_unit(b"1e1000000"),
        b'{"price":{"model":"nonsense"},"quantity":"1"}',
    ]
    lines = [line for bad in garbage for line in (bad, GOOD)]
    found = answers("rate", *lines)
    assert len(found) == len(lines)
    assert found[1::2] == [GOOD_ANSWER] * len(garbage)
    codes = [answer["error"]["code"] for answer in found[::2]]
    assert codes == [
        "malformed_json",
        "malformed_json",
        "malformed_json",
        "malformed_json",
        "invalid_input",
        "invalid_input",
        "invalid_input",
        "invalid_input",
        "malformed_json",
        "malformed_json",
        "invalid_utf8",
        "too_deep",
        "duplicate_key",
        "invalid_price",
        "malformed_json",
        "invalid_input",
        "invalid_input",
        "invalid_price",
    ]


def test_numbers_are_read_exactly() -> None:
    found = answers(
        "rate", per_unit(b"0.1234567890123456789"), per_unit(b'"0.1"'), per_unit(b"12345678901234567890")
    )
    assert [answer.get("amount") for answer in found[1:]] == ["0.1", "12345678901234567890"]
    assert (
        found[0]["error"]["code"] == "invalid_input"
    )  # nineteen digits after the point, and none was lost unseen
    assert answers("rate", per_unit(b"0.123456789012345678"))[0]["amount"] == "0.123456789012345678"


def test_the_last_line_may_lack_its_newline() -> None:
    assert answers("rate", GOOD, end=b"") == [GOOD_ANSWER]
    assert answers("rate", end=b"") == []


def test_a_line_that_is_too_long_is_answered_and_passed_over() -> None:
    found = answers("rate", b'"' + b"x" * (9 * 1024 * 1024) + b'"', GOOD)
    assert found[0]["error"]["code"] == "line_too_long"
    assert found[1:] == [GOOD_ANSWER]


def test_an_answer_comes_before_the_next_question() -> None:
    talk = subprocess.Popen(
        [sys.executable, "-m", "farthing", "rate"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert talk.stdin is not None
    assert talk.stdout is not None
    for quantity in (b"1", b"2", b"3"):
        talk.stdin.write(per_unit(quantity) + b"\n")
        talk.stdin.flush()
        assert json.loads(talk.stdout.readline())["amount"] == quantity.decode()
    talk.stdin.close()
    assert talk.wait(timeout=30) == 0
    talk.stdout.close()


def test_periods() -> None:
    question = (
        b'{"anchor":"2024-01-30T18:30:00Z","interval":"month","timezone":"Asia/Kolkata",'
        b'"at":"2024-02-15T00:00:00Z","count":2}'
    )
    assert answers("periods", question, b"?", b'{"anchor":"calendar"}') == [
        {
            "periods": [
                {"start": "2024-01-30T18:30:00Z", "end": "2024-02-28T18:30:00Z"},
                {"start": "2024-02-28T18:30:00Z", "end": "2024-03-30T18:30:00Z"},
            ]
        },
        {
            "error": {
                "code": "malformed_json",
                "message": "the line is not valid JSON: Expecting value at column 1",
            }
        },
        {"error": {"code": "invalid_line", "message": "interval is missing; at is missing"}},
    ]


def test_lines_come_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "questions.ndjson"
    file.write_bytes(GOOD + b"\n" + GOOD)
    command = [sys.executable, "-m", "farthing", "rate"]
    done = subprocess.run([*command, file], capture_output=True, timeout=60, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [GOOD_ANSWER] * 2
    missing = subprocess.run([*command, tmp_path / "none"], capture_output=True, timeout=60, check=False)
    assert missing.returncode == 2
    assert missing.stderr.decode().startswith("error: ")
    assert "No such file" in missing.stderr.decode()


def test_a_reader_that_leaves_is_no_failure_to_talk_about() -> None:
    command = f"{sys.executable} -m farthing rate | head -n 1"
    done = subprocess.run(
        command, shell=True, input=(GOOD + b"\n") * 20_000, capture_output=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == GOOD_ANSWER
    assert done.stderr == b""


@pytest.mark.parametrize("command", ["rate", "periods"])
def test_nothing_heavy_is_imported(command: str) -> None:
    """Start-up is felt by whoever calls this from a script; the database and the web are no part of it."""
    program = (
        "import sys\n"
        "from farthing.cli import main\n"
        "try:\n"
        f"    main(['{command}'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'duckdb', 'pyarrow', 'numpy', 'fastapi', 'typst', 'psycopg', 'uvicorn', 'ruamel', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], input=b"", timeout=60, check=True)
