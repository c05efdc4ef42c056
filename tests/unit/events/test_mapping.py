"""How a map is read: what each field is taken from, and that nothing else gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.events.intake.mapping import (
    FIELDS_MAX,
    SPEC_LENGTH_MAX,
    Mapping,
    Taken,
    check_columns,
    parse_mapping,
)
from farthing.kernel.errors import InvalidInput


def column(name: str) -> Taken:
    return Taken(column=name)


def constant(text: str) -> Taken:
    return Taken(constant=text)


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ("id=#,type='call'", {"id": Taken(), "type": constant("call")}),
        (
            "id=#,type='llm.completion',subject='acme',time=TIMESTAMP,data.input_tokens=ContextTokens",
            {
                "id": Taken(),
                "type": constant("llm.completion"),
                "subject": constant("acme"),
                "time": column("TIMESTAMP"),
                "data.input_tokens": column("ContextTokens"),
            },
        ),
        (" id = a , type = b ", {"id": column("a"), "type": column("b")}),
        ("id=two words,type='it''s, so'", {"id": column("two words"), "type": constant("it's, so")}),
        ("id='',type=''''", {"id": constant(""), "type": constant("'")}),
        ("id=a.b-c#d,type=x=y", {"id": column("a.b-c#d"), "type": column("x=y")}),
        ('id=x" || y,type=é $1', {"id": column('x" || y'), "type": column("é $1")}),
        ("id=a,type=b,source=s,data.a.b.c_1=d", {
            "id": column("a"), "type": column("b"), "source": column("s"), "data.a.b.c_1": column("d"),
        }),
        ("id=a,type=b,", {"id": column("a"), "type": column("b")}),
    ],
)  # fmt: skip
def test_maps(spec: str, fields: dict[str, Taken]) -> None:
    assert parse_mapping(spec).fields == fields


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("", "does not say where id comes from"),
        ("id=#", "does not say where type comes from"),
        ("type='t'", "does not say where id comes from"),
        ("id=#,type='t',id=x", "names id twice"),
        ("id=#,type=#", "gives # to type; only id can be a row's number"),
        ("id=#,type='t',data.n=#", "gives # to data.n; only id can be a row's number"),
        ("id=#,type='t',data.a=x,data.a.b=y", "gives both data.a and data.a.b"),
        ("id=#,type='t',nope=x", "is not field=column, field='text' or id=# at 'nope=x'"),
        ("id=#,type='t',data=x", "is not field=column, field='text' or id=# at 'data=x'"),
        ("id=#,type='t',data.1=x", "is not field=column, field='text' or id=# at 'data.1=x'"),
        ("id=#,type='t',data.a-b=x", "is not field=column, field='text' or id=# at 'data.a-b=x'"),
        ("id=#,type='t',data.ä=x", "is not field=column, field='text' or id=# at 'data.ä=x'"),
        ("id=#,type='t", "is not field=column, field='text' or id=# at \"type='t\""),
        ("id=#,type='t' x", "is not field=column, field='text' or id=# at \"type='t' x\""),
        (
            "id=#,type='t'; DROP TABLE x",
            "is not field=column, field='text' or id=# at \"type='t'; DROP TABLE x\"",
        ),
        ("id=#,type=", "is not field=column, field='text' or id=# at 'type='"),
        ("id=#,,type='t'", "is not field=column, field='text' or id=# at \",type='t'\""),
        ("id", "is not field=column, field='text' or id=# at 'id'"),
        ("ID=#,type='t'", "is not field=column, field='text' or id=# at \"ID=#,type='t'\""),
        ("id=#,type='t',data.a='x'y'", "is not field=column, field='text' or id=# at \"data.a='x'y'\""),
    ],
)
def test_faults_quote_their_place(spec: str, complaint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_mapping(spec)
    assert refused.value.code == "invalid_map"
    assert [fault.message for fault in refused.value.faults] == (
        [complaint] if spec else [complaint, complaint.replace("id", "type")]
    )


def test_size_is_bounded() -> None:
    fields = ",".join(f"data.f{number}=c" for number in range(FIELDS_MAX - 2))
    assert len(parse_mapping("id=#,type='t'," + fields).fields) == FIELDS_MAX
    with pytest.raises(InvalidInput):
        parse_mapping("id=#,type='t',data.more=c," + fields)
    for spec in ("x" * (SPEC_LENGTH_MAX + 1), "id=" + " " * SPEC_LENGTH_MAX, "id='" + "'" * 9_000):
        with pytest.raises(InvalidInput):
            parse_mapping(spec)


names = st.text(min_size=1, max_size=20).filter(
    lambda name: name == name.strip() and not set(name) & set(",'") and name[0] != "#"
)


@given(
    st.dictionaries(st.sampled_from(["source", "subject", "time", "data.a", "data.b.c"]), names | st.none()),
    st.text(max_size=30),
)
def test_whatever_columns_and_constants_are_called_they_stay_what_they_are(
    columns: dict[str, str | None], text: str
) -> None:
    quoted = text.replace("'", "''")
    pairs = ["id=#", f"type='{quoted}'"]
    pairs += [f"{field}='{quoted}'" if name is None else f"{field}={name}" for field, name in columns.items()]
    wanted = {"id": Taken(), "type": constant(text)}
    wanted |= {field: constant(text) if name is None else column(name) for field, name in columns.items()}
    assert parse_mapping(",".join(pairs)).fields == wanted


@given(st.text(alphabet="id=#type',. data\n\"\\x", max_size=40))
def test_garbage_is_read_or_refused(spec: str) -> None:
    try:
        read = parse_mapping(spec).fields
    except InvalidInput:
        return
    assert {"id", "type"} <= read.keys()


def test_columns_that_the_file_does_not_have() -> None:
    mapping = parse_mapping("id=#,type='t',data.a=a,data.b=b,data.c=B,data.d=a")
    check_columns(mapping, ["x", "B", "b", "a", "x"])
    assert mapping.columns() == ["a", "b", "B"]
    with pytest.raises(InvalidInput) as refused:
        check_columns(mapping, ["b", "x", "b"])
    assert refused.value.code == "unknown_column"
    assert [fault.message for fault in refused.value.faults] == [
        "takes data.a from 'a', but the columns are b, b, x",
        "takes data.b from 'b', and two columns are called that",
        "takes data.c from 'B', but the columns are b, b, x",
        "takes data.d from 'a', but the columns are b, b, x",
    ]


def test_the_source_says_what_the_map_fixes() -> None:
    assert parse_mapping("id=#,type=t").source("f.csv") == "file:f.csv"
    assert (
        parse_mapping("id=#,type='t',subject='acme',data.a='x'").source("f.csv")
        == "file:f.csv;type=t;subject=acme"
    )
    assert Mapping({}).source("f") == "file:f"
