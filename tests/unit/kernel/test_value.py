"""Values that are made quickly are what frozen dataclasses are."""

import copy
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, InitVar, dataclass, field, fields, replace
from typing import ClassVar

import pytest

from farthing.kernel.value import value


@value
class Quick:
    """What it means."""

    first: int
    named: Mapping[str, int] = field(default_factory=dict)
    last: str = "last"

    @property
    def doubled(self) -> int:
        return 2 * self.first


@dataclass(frozen=True, slots=True)
class More(Quick):
    beyond: int = 0


class Other(Quick):
    __slots__ = ()


@value
class Named:
    """Fields that are called like what makes them."""

    missing: int
    made: int
    become: list[int] = field(default_factory=list)
    changeable: int = 4


def test_it_is_made_compared_and_shown_like_any_other() -> None:
    one = Quick(3)
    assert (one.first, one.named, one.last, one.doubled) == (3, {}, "last", 6)
    assert one == Quick(first=3, named={}) != Quick(3, {"a": 1})
    assert one.named is not Quick(3).named
    assert repr(one) == "Quick(first=3, named={}, last='last')"
    assert type(one) is Quick
    assert isinstance(one, Quick)
    assert [each.name for each in fields(one)] == ["first", "named", "last"]
    assert Quick.__doc__ == "What it means."
    assert hash(Quick(3, named=None)) == hash(Quick(3, None, "last"))  # type: ignore[arg-type]


def test_it_cannot_be_changed() -> None:
    one = Quick(3)
    with pytest.raises(FrozenInstanceError):
        one.first = 4  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.first
    assert replace(one, last="other") == Quick(3, {}, "other")
    assert one.last == "last"


def test_it_is_refused_what_is_no_field() -> None:
    with pytest.raises(TypeError, match="first"):
        Quick()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="other"):
        Quick(3, other=4)  # type: ignore[call-arg]


def test_it_can_be_copied_kept_and_built_upon() -> None:
    one = Quick(3, {"a": 1})
    assert copy.deepcopy(one) == one
    assert pickle.loads(pickle.dumps(one)) == one
    more = More(3, {"a": 1}, beyond=7)
    assert (more.first, more.last, more.beyond, more.doubled) == (3, "last", 7, 6)
    assert more != one
    match one:
        case Quick(first, named):
            assert (first, named) == (3, {"a": 1})
    assert type(Other(3)) is Other
    assert type(one) is Quick


def test_fields_have_any_name() -> None:
    one = Named(1, 2)
    assert (one.missing, one.made, one.become, one.changeable) == (1, 2, [], 4)


def test_what_it_cannot_do_is_refused() -> None:
    def after(self: object) -> None: ...

    for namespace in (
        {"__annotations__": {"one": int}, "__post_init__": after},
        {"__annotations__": {"one": int}, "__init__": after},
        {"__annotations__": {"one": InitVar[int]}},
        {"__annotations__": {"one": ClassVar[int]}},
        {"__annotations__": {"_value_own": int}},
        {"__annotations__": {"self": int}},
    ):
        with pytest.raises(AssertionError):
            value(type("Refused", (), namespace))
    with pytest.raises(AssertionError):
        value(type("Refused", (Quick,), {}))
