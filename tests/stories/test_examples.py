"""The examples are run, and their committed output is what they print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.mark.skipif(not (SHARED_DATA / "azure-llm-2023").is_dir(), reason="../shared/data is not there")
def test_the_azure_traces_are_billed_to_the_last_digit() -> None:
    example = REPOSITORY / "examples" / "azure_llm_trace.py"
    ran = subprocess.run([sys.executable, example, SHARED_DATA], capture_output=True, text=True, check=True)
    assert ran.stdout == example.with_suffix(".out").read_text()
    # The totals that the traces and the price sheet give, worked out elsewhere.
    for exact, total in (
        ("47.608895", "47.61"),
        ("2.8565337", "2.86"),
        ("96.791325", "96.79"),
        ("5.8074795", "5.81"),
    ):
        assert f" {exact} " in ran.stdout
        assert f" {total} " in ran.stdout


@pytest.mark.skipif(not (SHARED_DATA / "servegen").is_dir(), reason="../shared/data is not there")
def test_what_pay_as_you_go_saves_is_what_its_page_says() -> None:
    example = REPOSITORY / "examples" / "pay_as_you_go.py"
    ran = subprocess.run([sys.executable, example, SHARED_DATA], capture_output=True, text=True, check=True)
    assert ran.stdout == example.with_suffix(".out").read_text()
    page = (REPOSITORY / "docs" / "concepts" / "pay-as-you-go.md").read_text()
    told = [re.split(r"  +", line) for line in ran.stdout.splitlines()[3:]]
    assert len(told) == 5
    for row in told:
        assert f"| {' | '.join(row)} |" in page
