"""What either maker leaves for a product of two private matrices adds up to the product of both masks."""

import numpy as np
import pytest
from native_runs import planned
from networks import images
from observed import attends

from autorep_fx.secure.correlations import layout
from autorep_fx.secure.correlations.prepared import Prepared
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.makers.table import DEALT, PAIRED
from autorep_fx.secure.parties.operations.product import factors


@pytest.fixture(scope="module")
def program():
    return attends(1)


@pytest.mark.filterwarnings("ignore:no activation was found")
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("maker, most", [(DEALT, 0), (PAIRED, 2)], ids=["dealt", "paired"])
def test_shares_of_a_product_of_masks_add_up_to_it(monkeypatch, program, maker, most, width):
    found, take = [], Prepared.take

    def keep(self):
        masks, shares = take(self)
        found.append({step: {name: v.copy() for name, v in own.items()} for step, own in shares.items()})
        return masks, shares

    monkeypatch.setattr(Prepared, "take", keep)
    x = images(2, size=4)
    plan, numbers = planned(program, x, widths=(width,), useful=7)
    run(plan.with_comparison("gmw"), numbers, x.double().numpy(), maker=maker)
    steps = [step for step in plan.steps if step.op == "matmul"]
    assert [step.width for step in steps] == [width, width] and len(found) == 2
    for step in steps:
        r, product = (found[0][step.name][name] + found[1][step.name][name] for name in ("r", "product"))
        assert {name: v.shape for name, v in found[0][step.name].items()} == {
            name: shape for name, (shape, _) in layout.layout(step, 2).items()
        }
        first, second = factors(step, r)
        off = product - (first @ second).reshape(2, -1)
        assert np.abs(off.view(f"i{width // 8}")).max() <= most
