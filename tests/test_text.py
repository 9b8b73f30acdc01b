"""Every text table of the package, character for character."""

import torch

from autorep_fx import demo
from autorep_fx.inspect.drift import Drift, SiteDrift
from autorep_fx.inspect.table import columns
from autorep_fx.secure.plan.plan import Plan
from autorep_fx.secure.plan.plan import Step as PlanStep
from autorep_fx.secure.planner.headroom import Headroom, Use
from autorep_fx.secure.program.program import Program, PublicProgram, Step


def same(found: str, wanted: str) -> None:
    assert found.splitlines() == wanted.strip("\n").splitlines()


def test_a_table_of_results_has_numbers_on_the_right_under_a_rule():
    rows = [("4 test images", "original", "hybrid"), ("ReLUs per image", "8,192", "512"), ("seconds", "0.5", "0.25")]
    same(demo.text(rows), """
4 test images    original  hybrid
---------------------------------
ReLUs per image     8,192     512
seconds               0.5    0.25
""")  # fmt: skip


def test_a_plan_shows_each_step_with_widths_wires_and_messages():
    plan = Plan((
        PlanStep("x", "input", (), (1, 4, 4), 12, 64),
        PlanStep("conv", "map", ("x",), (2, 4, 4), 20, 64, {"kind": "conv", "stride": (1, 1)}),
        PlanStep("relu", "activation", ("conv",), (2, 4, 4), 10, 32, {"wire": 64, "comparison": "gmw"}),
        PlanStep("output", "output", ("relu",), (32,), 10, 32, {"wire": 32}),
    ))  # fmt: skip
    same(str(plan), """
step    op          inputs  shape    width    frac_bits  wire                       messages                public
x       input               Nx1x4x4  64       12         blinded                    C>S
conv    conv        x       Nx2x4x4  64       20         blinded                                            kind=conv stride=(1,1)
relu    activation  conv    Nx2x4x4  64 > 32  10         masked > shared > blinded  S>C + borrow tree, C>S  comparison=gmw
output  output      relu    Nx32     32       10         masked > client            S>C
""")  # fmt: skip # noqa: E501


def test_headroom_marks_what_is_beyond_its_room():
    uses = Use("x", "range", 0.5, 2.0, 4.0), Use("relu", "window", 1.25, 5.0, 4.0)
    same(str(Headroom(uses, torch.tensor([0.5, 1.25]))), """
step  room    used     bits left  largest  limit
x     range   50.00%   1.0        2        4
relu  window  125.00%  -0.3       5        4  <- beyond
1 of 2 samples may be answered wrongly
""")  # fmt: skip


def test_a_program_shows_shapes_of_what_is_private_and_no_number():
    step = Step("conv", "conv2d", ("x",), (2, 4, 4), {"stride": (1, 1)}, {"weight": "conv.weight"})
    public = PublicProgram("x", (1, 4, 4), (step,), "conv", {"conv.weight": (2, 1, 3, 3)}, None)
    same(str(Program(public, {"conv.weight": torch.ones(2, 1, 3, 3)})), """
1 steps, 18 private numbers
step    op      inputs  shape    server's part       public
x       input           Nx1x4x4                      held by the client
conv    conv2d  x       Nx2x4x4  weight[2, 1, 3, 3]  stride=(1,1)
output  open    conv    Nx2x4x4                      to the client
""")  # fmt: skip


def test_drift_has_numbers_on_the_right_and_its_verdict_at_the_end():
    sites = (
        SiteDrift("relu", 0.5, 0.01, 0.25, None, 0.125, True),
        SiteDrift("layer1.relu", None, 0.0, None, None, None, False),
    )
    same(str(Drift(sites, 128, "calibration")), """
1 of 2 sites have drifted (128 samples, beside calibration)
site         moved  beyond   error  before    best
relu          0.50   1.00%  25.00%       -  12.50%  fit again
layer1.relu      -   0.00%       -       -       -
""")  # fmt: skip


def test_a_report_is_no_wider_than_120_columns_and_long_names_lose_their_middle():
    rows = [("begin" + 50 * "x" + 50 * "y" + "end", "relu", "1,024", ""), ("b", "relu6", "2", "0.5")]
    found = columns(("site", "kind", "kept", "rms"), rows, [("total", "", "1,026", "")])
    gap, rule = 97 * " ", 120 * "-"
    same(found, f"""
site{gap}  kind    kept  rms
{rule}
begin{28 * "x"}…{14 * "x"}{50 * "y"}end  relu   1,024
b{gap}     relu6      2  0.5
{rule}
total{gap}        1,026
""")  # fmt: skip
