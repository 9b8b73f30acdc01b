"""Networks of signals, pictures and volumes between two parties: every layer, in rings of 32 and 64 bits."""

import numpy as np
import pytest
from axes import AXES
from native_runs import compiled, hold
from torch import nn

from autorep_fx.secure.cost.cost import plan_cost

pytestmark = pytest.mark.filterwarnings("ignore::autorep_fx.errors.TransformWarning")


@pytest.mark.parametrize("widths, comparison", [((64,), "fss"), ((32, 64), "gmw")], ids=["wide", "mixed"])
@pytest.mark.parametrize("name", AXES)
def test_it_runs_as_the_fixed_point_model_and_as_declared(name, widths, comparison):
    model, x = AXES[name]
    x = x[:2]
    run = hold(compiled(nn.Sequential(model), x, max_error=float("inf")), x, comparison=comparison, widths=widths)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.02 + 0.01 * np.abs(run.exact).max())
    cost = plan_cost(run.plan, "lan", batch=2)
    assert run.online["client"].depth == cost.rounds
    for role in ("client", "server"):
        assert run.online[role].total_bytes == cost.online[role]
