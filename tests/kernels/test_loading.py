import os
import subprocess
import sys
from pathlib import Path

import pytest

import autorep_fx
from autorep_fx import kernels

#: The package without what its front door imports, torch, which would take two seconds.
ALONE = f"""
import sys, types
sys.modules["autorep_fx"] = package = types.ModuleType("autorep_fx")
package.__path__ = [{str(Path(autorep_fx.__file__).parent)!r}]
"""


def run(code, **env):
    return subprocess.run([sys.executable, "-c", ALONE + code], capture_output=True, text=True, env=os.environ | env)


def test_tiers_are_listed_and_forced():
    tiers = kernels.available_tiers()
    assert tiers[0] == "portable"
    before = kernels.tier()
    for name in tiers:
        with kernels.use(tier=name):
            assert kernels.tier() == name
    assert kernels.tier() == before


@pytest.mark.parametrize("name", ["avx1024", "", "AVX2"])
def test_unknown_tier_is_an_error(name):
    with pytest.raises(ValueError, match="available: portable"):
        kernels.set_tier(name)


def test_environment_forces_a_tier():
    code = "from autorep_fx import kernels; print(kernels.tier())"
    assert run(code, AUTOREP_FX_CPU="portable").stdout.strip() == "portable"
    bad = run(code, AUTOREP_FX_CPU="nonsense")
    assert bad.returncode != 0 and "AUTOREP_FX_CPU" in bad.stderr and "portable" in bad.stderr


@pytest.mark.parametrize("n", [0, -1, 10**6])
def test_thread_count_is_checked(n):
    with pytest.raises(ValueError, match="n: expected 1 to 1024"):
        kernels.set_num_threads(n)


def test_without_extension_the_error_says_how_to_build():
    code = (
        "import sys; sys.modules['autorep_fx.kernels._C'] = None\n"
        "from autorep_fx import kernels\n"
        "assert not kernels.available()\n"
        "kernels.tier()"
    )
    got = run(code, AUTOREP_FX_EXTENSION="")
    assert got.returncode != 0 and "MissingDependency" in got.stderr and "pip install -e ." in got.stderr


def test_forked_child_does_not_hang():
    code = (
        "import os, numpy as np\n"
        "from autorep_fx import kernels\n"
        "kernels.set_num_threads(2); a = np.ones(10**6, np.uint64)\n"
        "kernels.beaver_square(a, a, a, frac_bits=0, party=0)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    kernels.beaver_square(a, a, a, frac_bits=0, party=0); os._exit(kernels.num_threads())\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    assert run(code).stdout.strip() == "1"
