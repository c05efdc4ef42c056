"""Keeping in the shapes of HTTP: erasures, and for how long events are kept."""

from pydantic import BaseModel, Field

from farthing.api.documents.shapes import Body


class ErasureBody(Body):
    """Whose personal data is to be erased."""

    customer: str = Field(description="The customer's key.")
    confirm: str = Field(description="The key once more: erasing cannot be undone.")
    documents: bool = Field(
        False, description="Issued invoices and credit notes at once as well, not when their time is over."
    )


class ErasureDocument(BaseModel):
    """An erasure, and how far it came. It names nobody."""

    erasure: int
    pseudonym: str = Field(description="What the customer is called from now on.")
    stage: str = Field(description="What is done next: events, books, cleaning, documents_kept or complete.")
    documents_from: str = Field(description="From then on its issued documents are erased as well.")
    requested_at: str
    completed_at: str | None


class RetentionBody(Body):
    """For how long events are kept."""

    keep_days: int | None = Field(
        ge=1, le=36_600, description="Remove events so many days after their time; null: keep them for ever."
    )


class RetentionDocument(BaseModel):
    """For how long events are kept, and what was removed because of it."""

    keep_days: int | None = Field(description="None: for ever.")
    removed_segments: int
    removed_events: int
    removed_until: str | None = Field(description="The time of the last event that was removed.")


class ErasurePage(BaseModel):
    """A page of erasures, in the order in which they were asked for."""

    items: list[ErasureDocument]
    next_cursor: str | None
