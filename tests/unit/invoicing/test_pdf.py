"""The PDF: the same bytes for the same invoice, everything on it, nothing of it markup."""

import base64
import io
import json
import struct
import zlib
from typing import Any

import pytest
import typst
from example import invoice, line, tokens
from pypdf import PdfReader

from farthing.invoicing.paper.face import width
from farthing.invoicing.paper.pdf import check_logo, render_pdf, render_pdfs
from farthing.kernel.errors import InvalidInput


def pages(document: dict[str, Any], seller: dict[str, Any] | None = None) -> list[str]:
    reader = PdfReader(io.BytesIO(render_pdf(document, seller or {})))
    return [" ".join(page.extract_text().replace("\u200b", "").split()) for page in reader.pages]


def many(count: int) -> list[dict[str, Any]]:
    charge = ("3", "0.0123", "0.0369", "usage")
    return [line(place, f"Card {place}", "3", [charge], "0.04") for place in range(1, count + 1)]


def test_everything_is_on_the_page() -> None:
    (page,) = pages(invoice([tokens(1, "opus"), tokens(2, "haiku")]))
    for words in (
        "Northwind AI", "Acme Inc.", "INV-000042", "1 February 2024", "2 March 2024", "1 – 31 January 2024",
        "Pay as you go", "18,059,974", "0.0000025", "45.149935", "45.15", "USD 90.30", "opus", "haiku",
        "Exact total before rounding: USD 90.29987", "1 / 1",
    ):  # fmt: skip
        assert words in page


def test_the_same_invoice_gives_the_same_bytes() -> None:
    document = invoice(many(60))
    first = render_pdf(document, {})
    assert first == render_pdf(json.loads(json.dumps(document)), {})
    assert first != render_pdf(document | {"issued_at": "2024-02-01T06:00:01Z"}, {})
    created = PdfReader(io.BytesIO(first)).metadata
    assert created is not None
    assert (created.title, created.author, str(created.creation_date)) == (
        "Invoice INV-000042", "Northwind AI", "2024-02-01 06:00:00+00:00",
    )  # fmt: skip


def test_a_long_invoice_repeats_its_header_and_keeps_its_totals_company() -> None:
    found = pages(invoice(many(300)))
    assert len(found) >= 4
    for number, page in enumerate(found, start=1):
        assert "Description Quantity Unit price" in page
        assert f"{number} / {len(found)}" in page
        assert "Card" in page
    assert [
        name for name in (f"Card {place} " for place in range(1, 301)) if name not in " ".join(found)
    ] == []
    for count in range(30, 46):  # wherever the page ends
        found = pages(invoice(many(count)))
        assert "Card" in found[-1]
        said = [page.split()[-3:] for page in found]
        assert said == [[str(number), "/", str(len(found))] for number in range(1, len(found) + 1)]


def test_what_somebody_is_called_does_not_make_two_pages_one() -> None:
    document = invoice(many(42))
    document["seller"] = document["seller"] | {"name": "/Type/Pages/Count 1/"}
    assert [page.split()[-3:] for page in pages(document)] == [["1", "/", "2"], ["2", "/", "2"]]


@pytest.mark.parametrize(
    "name",
    [
        '#panic("injected")', "$x^2$", "*bold* _emph_", "[a] #strong[b]", "<label> @ref", "`raw`", "\\ // /* */",
        "= Heading", "- item", '"quoted" \\"', "{}", "#sys.inputs", "#read(\"/etc/passwd\")",
        '"))) #panic("injected")', '\\"))) #panic()', "\\u{22}", "\\u0022", "a\\\\", "\\n",
    ],
)  # fmt: skip
def test_names_are_data(name: str) -> None:
    document = invoice(
        [
            tokens(1, name, description=name),
            line(2, name, "1", [("2", "2.5", "5", name)], "5.00", rate_card="fee"),
        ],
        bill_to={"name": name, "email": name, "address": {"line1": name}},
        seller={"name": name, "note": name},
        plan={"key": "p", "name": name, "version": 1},
    )
    (page,) = pages(document)
    assert page.count(name) >= 7


def test_other_scripts_and_long_names_fit() -> None:
    names = ["Прорация", "Ωμέγα", "Łódź", "x" * 200, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk"]
    document = invoice(
        [tokens(place, name, description=name, rate_card=name) for place, name in enumerate(names, start=1)],
        bill_to={"name": names[-1], "address": {}},
    )
    everything = "".join(pages(document)).replace(" ", "")
    assert all(name in everything for name in names)


def test_scripts_that_need_the_fonts_of_the_machine_are_rendered() -> None:
    assert pages(invoice([tokens(1, "opus")], bill_to={"name": "شركة الخليج", "address": {}}))
    assert pages(invoice([tokens(1, "opus")], bill_to={"name": "株式会社サンプル", "address": {}}))


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "1235"), ("KWD", "1234.500"), ("CLF", "1234.5000")])
def test_currencies_have_their_own_digits(currency: str, amount: str) -> None:
    charge = ("1", amount, amount, "flat fee")
    (page,) = pages(invoice([line(1, "Fee", "1", [charge], amount)], currency=currency))
    assert f"{currency} 1,23{amount[3:]}" in page


def test_amounts_of_dozens_of_digits_do_not_break_the_page() -> None:
    number = "12345678901234567890.123456789012345678"
    charge = (number, number, "152415787532388367504942236884722755800.95", "usage")
    (page,) = pages(invoice([line(1, "Things", number, [charge], charge[2])]))
    assert "12,345,678,901,234,567,890.123456789012345678" in page


def png() -> str:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00" + b"\xff\x00\x00" * 2 + b"\x00" + b"\x00\x00\xff" * 2)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 4"><rect width="9" height="4" fill="#36f"/></svg>'
)


@pytest.mark.parametrize("seller", [{"logo_svg": SVG}, {"logo_png": png()}])
def test_a_logo_stands_in_the_place_of_the_name(seller: dict[str, str]) -> None:
    document = invoice([tokens(1, "opus")])
    check_logo(seller)
    with_logo, without = pages(document, seller)[0], pages(document)[0]
    assert without.count("Northwind AI") == with_logo.count("Northwind AI") + 1


def test_a_logo_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_logo({"logo_svg": "<svg"})
    assert refused.value.code == "invalid_logo"


@pytest.mark.parametrize(("paper", "width"), [("a4", 595), ("us-letter", 612)])
def test_the_seller_chooses_the_paper(paper: str, width: int) -> None:
    pdf = render_pdf(invoice([tokens(1, "opus")]), {"paper": paper})
    assert int(PdfReader(io.BytesIO(pdf)).pages[0].mediabox.width) == width


def test_forty_lines_and_their_totals_stand_on_one_page() -> None:
    (page,) = pages(invoice(many(40)))
    assert "Card 40 3 0.0123" in page
    assert "Total USD 1.60" in page


def test_several_invoices_are_set_at_once_in_their_order() -> None:
    documents = [invoice([tokens(1, "opus")], number=f"INV-{place:06d}") for place in range(1, 6)]
    assert list(render_pdfs(documents, {})) == [render_pdf(document, {}) for document in documents]


def test_the_widths_that_are_counted_with_are_those_of_the_letters() -> None:
    letters = [chr(code) for code in range(0x20, 0x7F)] + ["−", "–", "·", "×"]
    source = """
        #set text(font: "Libertinus Serif", size: 1000pt, number-type: "lining", number-width: "tabular")
        #context [#metadata(json(bytes(sys.inputs.letters)).map(letter => measure(letter).width.pt())) <widths>]
    """
    found = typst.query(
        source.encode(), "<widths>", field="value", one=True, ignore_system_fonts=True,
        sys_inputs={"letters": json.dumps(letters)},
    )  # fmt: skip
    assert [width(letter) for letter in letters] == json.loads(found)
