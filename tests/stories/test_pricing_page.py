"""The page of prices says what `farthing rate` says, and its pictures show the prices beside them."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from ruamel.yaml import YAML

from farthing.rating.models import MODELS
from farthing.rating.wire import rate_line

CONCEPTS = Path(__file__).parents[2] / "docs" / "concepts"
PAGE = (CONCEPTS / "pricing.md").read_text(encoding="utf-8")


def load_plots() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pricing_plots", CONCEPTS / "pricing_plots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PLOTS = load_plots()
PRICES = dict(PLOTS.prices_of(PAGE))


def worked_examples() -> list[tuple[object, str, str, str]]:
    """The rows of each table: the price above it, what is used, what it costs and why."""
    yaml = YAML(typ="safe", pure=True)
    found = []
    for block in re.finditer(r"```yaml\n(.*?)```\n(.*?)(?=```yaml|\Z)", PAGE, re.DOTALL):
        price = yaml.load(block[1])["price"]
        rows = re.findall(r"^\| `(.+)` \| (\S+) \| (.*?) ?\|$", block[2], re.MULTILINE)
        assert rows, price
        found += [(price, *row) for row in rows]
    return found


EXAMPLES = worked_examples()


@pytest.mark.parametrize(("price", "used", "costs", "because"), EXAMPLES, ids=[row[1] for row in EXAMPLES])
def test_a_worked_example_is_what_farthing_rate_answers(price, used, costs, because):
    answer = rate_line({"price": price, **json.loads(f"{{{used}}}")})
    assert answer["amount"] == costs
    reasons = [
        f"{charge['quantity']} x {charge['unit_price']} = {charge['amount']}, {charge['reason']}"
        for charge in answer["charges"]
    ]
    assert "; ".join(reasons) == because


def test_every_model_has_its_place_on_the_page():
    assert {price["model"] for price in PRICES.values()} == set(MODELS)


@pytest.mark.parametrize("name", sorted(PLOTS.PLOTS))
def test_a_picture_shows_the_price_beside_it(name):
    drawn = PLOTS.drawn(name, PRICES[name])
    kept = (CONCEPTS / "pricing" / f"{name}.svg").read_text(encoding="utf-8")
    assert kept == drawn, "draw the pictures again: python docs/concepts/pricing_plots.py"


def test_no_picture_is_left_over():
    assert {path.stem for path in (CONCEPTS / "pricing").iterdir()} == set(PLOTS.PLOTS) == set(PRICES)
