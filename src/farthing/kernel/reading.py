"""How a document is read: field by field, with every fault found before anything is refused.

    faults = Faults("invalid_customer")
    fields = Fields(raw, "customers[3]", faults)
    key = fields.required("key", parse_key)
    email = fields.optional("email", parse_email, None)
    fields.refuse_unknown()
    faults.refuse()                  # raises InvalidInput naming all of them
    return Customer(key=key, email=email)

A parser is a function of the raw value and its path that returns the value or raises InvalidInput.
"""

import re
from collections.abc import Callable, Collection
from typing import TypeVar, cast

from farthing.kernel.errors import Fault, InvalidInput

FAULTS_SHOWN_MAX = 100
"""A file of a million bad rows is refused with its first hundred faults and the count of the rest."""

KEY_LENGTH_MAX = 128
TEXT_LENGTH_MAX = 256

_T = TypeVar("_T")
_D = TypeVar("_D")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}\Z", re.ASCII)
# Control characters, line and paragraph separators, and halves of surrogate pairs (not UTF-8).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Faults:
    """Every fault of one input. Faults of one kind keep their code; of several kinds they get `code`."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.codes: set[str] = set()
        self._kept: list[Fault] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, path: str, message: str, *, code: str | None = None) -> None:
        self.codes.add(code or self.code)
        self._count += 1
        if len(self._kept) < FAULTS_SHOWN_MAX:
            self._kept.append(Fault(path, message))

    def absorb(self, error: InvalidInput, path: str = "") -> None:
        """Take over the faults of a part that was read by itself."""
        for fault in error.faults or (Fault(error.path or path, error.message),):
            self.add(fault.path, fault.message, code=error.code)

    def refuse(self) -> None:
        """Raise InvalidInput with all faults, if there is one."""
        if not self._count:
            return
        code = next(iter(self.codes)) if len(self.codes) == 1 else self.code
        rest = self._count - len(self._kept)
        more = [Fault("", f"and {rest} more faults")] if rest else []
        raise InvalidInput.of(code, [*self._kept, *more])


class Fields:
    """One object of the input. Each field is taken by name; what nobody took is unknown."""

    def __init__(self, raw: object, path: str, faults: Faults) -> None:
        self.path = path
        self._faults = faults
        self._taken: set[str] = set()
        self._raw: dict[object, object] = {}
        self.is_object = isinstance(raw, dict)
        if isinstance(raw, dict):
            self._raw = raw
        else:
            faults.add(path, f"must be an object, not {kind(raw)}")

    def __contains__(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._raw.get(name) is not None

    def at(self, name: str) -> str:
        """The path of a field of this object."""
        return f"{self.path}.{name}" if self.path else name

    def required(self, name: str, parse: Callable[[object, str], _T]) -> _T:
        """The parsed field. After a fault it is None in spite of its type; `refuse` raises before any use."""
        self._taken.add(name)
        if self._raw.get(name) is None:
            if self.is_object:
                self._faults.add(self.at(name), "is missing")
            return cast(_T, None)
        return self._parsed(name, parse)

    def optional(self, name: str, parse: Callable[[object, str], _T], default: _D) -> _T | _D:
        """The parsed field, or `default` where it is absent or null."""
        self._taken.add(name)
        return default if self._raw.get(name) is None else self._parsed(name, parse)

    def refuse_unknown(self) -> None:
        for name in self._raw:
            if name not in self._taken:
                self._faults.add(self.at(str(name)[:KEY_LENGTH_MAX]), "is not a known field")

    def _parsed(self, name: str, parse: Callable[[object, str], _T]) -> _T:
        try:
            return parse(self._raw[name], self.at(name))
        except InvalidInput as error:
            self._faults.absorb(error, self.at(name))
            return cast(_T, None)


def kind(raw: object) -> str:
    """What a value is, in words for a message."""
    if raw is None:
        return "null"
    names: dict[type, str] = {bool: "a boolean", dict: "an object", list: "a list", str: "a string"}
    return names.get(type(raw), "a number")


def parse_list(
    raw: object, path: str, parse: Callable[[object, str], _T], *, most: int, faults: Faults
) -> list[_T]:
    """Each item parsed with its index in the path; bad items are left out and stand among the faults."""
    if not isinstance(raw, list):
        faults.add(path, f"must be a list, not {kind(raw)}")
        return []
    if len(raw) > most:
        faults.add(path, f"has {len(raw)} items; at most {most} are allowed")
        return []
    items: list[_T] = []
    for index, item in enumerate(raw):
        try:
            items.append(parse(item, f"{path}[{index}]"))
        except InvalidInput as error:
            faults.absorb(error, f"{path}[{index}]")
    return items


def refuse_repeated(raw: object, path: str, faults: Faults, *, name: str = "key") -> None:
    """Name every item of a list whose key stands earlier in the same list."""
    first_at: dict[str, int] = {}
    for index, item in enumerate(raw if isinstance(raw, list) else []):
        key = item.get(name) if isinstance(item, dict) else None
        if isinstance(key, str) and first_at.setdefault(key, index) != index:
            faults.add(f"{path}[{index}].{name}", f"{shown(key)} stands at {path}[{first_at[key]}] already")


def is_key(text: str) -> bool:
    """Whether `parse_key` would let it in."""
    return _KEY.match(text) is not None


def parse_key(raw: object, path: str) -> str:
    """A name in the catalog: a letter or `_`, then letters, digits, `_`, `.` or `-`; at most 128 of them."""
    if isinstance(raw, str) and is_key(raw):
        return raw
    raise InvalidInput.of("invalid_key", [Fault(path, f"{shown(raw)} is not a key: use A-Z a-z 0-9 _ . -")])


def parse_subject(raw: object, path: str) -> str:
    """A key that the customer's own systems chose: any visible text of 1 to 256 characters."""
    text = parse_text(raw, path)
    if text != text.strip():
        raise InvalidInput.of("invalid_key", [Fault(path, "must not begin or end with a space")])
    return text


def parse_text(raw: object, path: str) -> str:
    """One line of text, 1 to 256 characters."""
    if not isinstance(raw, str):
        raise InvalidInput.of("invalid_text", [Fault(path, f"must be a string, not {kind(raw)}")])
    if not raw.strip() or len(raw) > TEXT_LENGTH_MAX:
        raise InvalidInput.of("invalid_text", [Fault(path, f"must have 1 to {TEXT_LENGTH_MAX} characters")])
    if found := _UNPRINTABLE.search(raw):
        raise InvalidInput.of("invalid_text", [Fault(path, f"holds the character U+{ord(found[0]):04X}")])
    return raw


def parse_flag(raw: object, path: str, *, code: str) -> bool:
    """true or false."""
    if isinstance(raw, bool):
        return raw
    raise InvalidInput.of(code, [Fault(path, f"must be true or false, not {kind(raw)}")])


def parse_count(raw: object, path: str, *, least: int, most: int, code: str) -> int:
    """A whole number within bounds."""
    if isinstance(raw, int) and not isinstance(raw, bool) and least <= raw <= most:
        return raw
    complaint = f"must be a whole number from {least} to {most}, not {shown(raw)}"
    raise InvalidInput.of(code, [Fault(path, complaint)])


def parse_choice(raw: object, path: str, choices: Collection[str], *, code: str) -> str:
    """One of a few words."""
    if isinstance(raw, str) and raw in choices:
        return raw
    raise InvalidInput.of(code, [Fault(path, f"must be one of {', '.join(choices)}, not {shown(raw)}")])


def shown(raw: object) -> str:
    """The value for a message, cut short."""
    if isinstance(raw, str):
        return repr(raw[:40])
    if isinstance(raw, int) and not isinstance(raw, bool) and raw.bit_length() <= 128:
        return str(raw)
    return kind(raw)
