"""Which gateways each tenant has, and with which secrets: read from one file that only its owner may read.

    default:
      stripe: {secret_key: sk_live_..., webhook_secret: whsec_...}
      sepa: {name: Northwind AI GmbH, iban: DE89370400440532013000, bic: COBADEFFXXX, creditor_id: DE98ZZZ09999999999}
      fake: {webhook_secret: whsec_try, seed: 7}

The file is read when a process starts. Its secrets stand nowhere else: not in the books, not in logs, not in messages.
"""

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from farthing.customers.catalog_file import read_catalog_file
from farthing.db import Books
from farthing.db.tenants import tenant_ids, tenant_key
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import Faults, Fields, parse_count, parse_text
from farthing.payments.bank.creditor import Creditor, parse_creditor
from farthing.payments.gateway import Gateway
from farthing.payments.gateways.fake import FakeGateway

FILE_BYTES_MAX = 1_048_576
SECRET_LENGTH_MIN = 8

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class GatewaysFile:
    """What the file says, by tenant key."""

    gateways: Mapping[str, Mapping[str, Gateway]] = field(default_factory=dict)
    creditors: Mapping[str, Creditor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GatewaysInUse:
    """The gateways of the tenants of these books. Tenants may come later than the file was read."""

    books: Books
    file: GatewaysFile

    def all(self) -> dict[int, Mapping[str, Gateway]]:
        """By tenant id."""
        if not self.file.gateways:
            return {}
        ids = tenant_ids(self.books, self.file.gateways)
        return {ids[key]: own for key, own in self.file.gateways.items() if key in ids}

    def of(self, tenant_id: int) -> Mapping[str, Gateway]:
        """Those of one tenant."""
        if not self.file.gateways:
            return {}
        return self.file.gateways.get(tenant_key(self.books, tenant_id) or "", {})


def open_gateways(path: Path | None, clock: Clock) -> GatewaysFile:
    """Read the file and set the gateways up; without a file there are none.

    Raises InvalidInput `gateways_file_unreadable`, `gateways_file_open_to_others`, `invalid_gateways`.
    """
    if path is None:
        return GatewaysFile()
    try:
        with path.open("rb") as opened:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(
            "gateways_file_unreadable", f"{path}: {error.strerror}", path="FARTHING_GATEWAYS"
        ) from None
    if mode & 0o077:
        complaint = f"{path} holds secrets and others may read it: chmod 600 it"
        raise InvalidInput("gateways_file_open_to_others", complaint, path="FARTHING_GATEWAYS")
    return parse_gateways(read_catalog_file(content, path.name), clock)


def parse_gateways(raw: object, clock: Clock) -> GatewaysFile:
    """Raises InvalidInput `invalid_gateways` with every fault; no message quotes a secret."""
    faults = Faults("invalid_gateways")
    if not isinstance(raw, dict):
        raise InvalidInput.of("invalid_gateways", [Fault("", "must be an object: gateways by tenant")])
    gateways: dict[str, dict[str, Gateway]] = {}
    creditors: dict[str, Creditor] = {}
    secrets: set[str] = set()
    for key, said in raw.items():
        fields = Fields(said, str(key)[:64], faults)
        own: dict[str, Gateway] = {}
        for name, parse in _PARSERS.items():
            found = fields.optional(name, partial(parse, clock), None)
            if found is not None:
                own[name], secret = found
                if secret in secrets:
                    faults.add(f"{key}.{name}.webhook_secret", "is the secret of another endpoint, too")
                secrets.add(secret)
        creditor = fields.optional("sepa", parse_creditor, None)
        if creditor is not None:
            creditors[str(key)] = creditor
        fields.refuse_unknown()
        gateways[str(key)] = own
    faults.refuse()
    return GatewaysFile(gateways, creditors)


def _parse_fake(clock: Clock, raw: object, path: str) -> tuple[Gateway, str]:
    faults = Faults("invalid_gateways")
    fields = Fields(raw, path, faults)
    secret = fields.required("webhook_secret", _parse_secret)
    seed = fields.optional(
        "seed",
        lambda value, at: parse_count(value, at, least=0, most=2**31 - 1, code="invalid_gateways"),
        0,
    )
    fields.refuse_unknown()
    faults.refuse()
    return FakeGateway(secret, clock, seed), secret


def _parse_stripe(clock: Clock, raw: object, path: str) -> tuple[Gateway, str]:
    faults = Faults("invalid_gateways")
    fields = Fields(raw, path, faults)
    key = fields.required("secret_key", _parse_secret)
    secret = fields.required("webhook_secret", _parse_secret)
    address = fields.optional("address", parse_text, None)
    fields.refuse_unknown()
    faults.refuse()
    try:
        from farthing.payments.gateways.stripe import StripeGateway
    except ImportError:
        complaint = "needs the package stripe: pip install 'farthing[stripe]'"
        raise InvalidInput.of("invalid_gateways", [Fault(path, complaint)]) from None
    return StripeGateway(key, secret, address), secret


_PARSERS: dict[str, Callable[[Clock, object, str], tuple[Gateway, str]]] = {
    "fake": _parse_fake,
    "stripe": _parse_stripe,
}


def _parse_secret(raw: object, path: str) -> str:
    if isinstance(raw, str) and SECRET_LENGTH_MIN <= len(raw) <= 512 and raw.isascii() and raw.isprintable():
        return raw
    complaint = f"must be a secret of {SECRET_LENGTH_MIN} to 512 printable ASCII characters"
    raise InvalidInput.of("invalid_gateways", [Fault(path, complaint)])
