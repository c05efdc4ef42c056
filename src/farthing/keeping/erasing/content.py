"""How an erasure is asked for: {"customer": "acme", "confirm": "acme", "documents": false}."""

from dataclasses import dataclass

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import Faults, Fields, kind, parse_subject


@dataclass(frozen=True, slots=True)
class ErasureContent:
    """Who is to be erased. documents: its issued documents at once as well."""

    customer: str
    documents: bool


def parse_erasure(raw: object) -> ErasureContent:
    """What is asked for. Raises InvalidInput `invalid_erasure`; `not_confirmed` unless confirm repeats the key."""
    faults = Faults("invalid_erasure")
    fields = Fields(raw, "", faults)
    customer = fields.required("customer", parse_subject)
    confirm = fields.required("confirm", parse_subject)
    documents = fields.optional("documents", _parse_flag, False)
    fields.refuse_unknown()
    faults.refuse()
    if confirm != customer:
        raise InvalidInput.of(
            "not_confirmed", [Fault("confirm", "must repeat the customer's key: erasing cannot be undone")]
        )
    return ErasureContent(customer, documents)


def _parse_flag(raw: object, path: str) -> bool:
    if isinstance(raw, bool):
        return raw
    raise InvalidInput.of("invalid_erasure", [Fault(path, f"must be true or false, not {kind(raw)}")])
