"""The port behind which tax is decided: by the user's table, or by another engine.

An engine is asked for all supplies of a batch of invoices at once, and answers in their order. The user's table is
asked ahead, and again where it changed meanwhile. Another engine is asked while the batch is being issued: one that
lives elsewhere answers from what it fetched before, or within a deadline of its own, and raises `Unavailable` where it
cannot; then nothing is issued, and the next run asks again.
"""

from collections.abc import Sequence
from typing import Protocol

from farthing.tax.model import Question, Treatment
from farthing.tax.table import TaxTable
from farthing.tax.treatment import treatment_of


class TaxEngine(Protocol):
    """Whoever says what supplies bear."""

    def treatments(self, questions: Sequence[Question]) -> Sequence[Treatment]:
        """One treatment for each question, in their order."""
        ...


class TableEngine:
    """The decision of `treatment.py` with a table; the same question is answered once."""

    def __init__(self, table: TaxTable) -> None:
        self._table = table
        self._answers: dict[Question, Treatment] = {}

    def treatments(self, questions: Sequence[Question]) -> Sequence[Treatment]:
        """What the table says."""
        answers = self._answers
        for question in questions:
            if question not in answers:
                answers[question] = treatment_of(question, self._table)
        return [answers[question] for question in questions]
