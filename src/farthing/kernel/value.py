"""Values that are made by the million: frozen dataclasses that are made in a quarter of the time. Pure.

Setting a field of a frozen dataclass is forbidden, so Python sets each by asking the class above it, by name. A line of
an invoice has twenty. Here an instance is of a class that may be changed while its fields are set, and of its own from
then on: before that, nobody else has it.
"""

from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar, cast, dataclass_transform

_Value = TypeVar("_Value")
_OURS = "_value_"
"""What names begin with that the code made here needs beside those of fields."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[_Value]) -> type[_Value]:
    """`@dataclass(frozen=True, slots=True)`, for a class without a base of which very many are made.

    Its fields are all that it takes: there is no `__post_init__`, no InitVar and no ClassVar.
    """
    assert cls.__bases__ == (object,), "a class without a base has all of its fields itself"
    assert not {"__init__", "__post_init__"} & set(vars(cls)), "its fields are said, and nothing else is done"
    made: Any = dataclass(frozen=True, slots=True)(cls)
    names = [one.name for one in fields(made)]
    assert names == list(made.__dataclass_fields__), "nothing is declared but fields"
    assert not any(name.startswith(_OURS) or name == "self" for name in names), "these names are taken"
    known: dict[str, Any] = {
        f"{_OURS}become": object.__setattr__,
        f"{_OURS}changeable": type(made.__name__, (), {"__slots__": names}),
        f"{_OURS}missing": MISSING,
    }
    said: list[str] = []
    lines = [f"    {_OURS}own = self.__class__", f"    {_OURS}become(self, '__class__', {_OURS}changeable)"]
    for one in fields(made):
        said.append(one.name + _default(one, known))
        if one.default_factory is not MISSING:
            lines.append(f"    if {one.name} is {_OURS}missing: {one.name} = {_OURS}made_{one.name}()")
        lines.append(f"    self.{one.name} = {one.name}")
    lines.append(f"    self.__class__ = {_OURS}own")
    source = f"def __init__(self, {', '.join(said)}) -> None:\n" + "\n".join(lines)
    exec(source, known)  # noqa: S102 - of the names of our own fields, as dataclasses do
    made.__init__ = known["__init__"]
    return cast(type[_Value], made)


def _default(one: "Field[Any]", known: dict[str, Any]) -> str:
    """How the parameter of a field says its default, if it has one."""
    assert one.init, "every field is said"
    assert not one.kw_only, "in its place"
    if one.default_factory is not MISSING:
        known[f"{_OURS}made_{one.name}"] = one.default_factory
        return f"={_OURS}missing"
    if one.default is MISSING:
        return ""
    known[f"{_OURS}default_{one.name}"] = one.default
    return f"={_OURS}default_{one.name}"
