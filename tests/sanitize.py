#!/usr/bin/env python3
"""Builds the kernels with the address and undefined-behaviour sanitizers and runs under them what uses them.

That is the tests of the kernels, those of parties and makers (threads of one process), and sessions of three processes
on both networks of secure/soak.py. The build goes to build/sanitize; the installed extension stays as it is.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "sanitize"
RUNS = [
    ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernels", "tests/secure/parties", "tests/secure/makers"],
    ["tests/secure/soak.py", "--sessions", "8"],
]


def main():
    import pybind11

    configure = ["cmake", "-S", ROOT, "-B", BUILD, "-DCMAKE_BUILD_TYPE=Release", "-DAUTOREP_FX_SANITIZE=ON"]
    configure += [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    subprocess.run(configure, check=True)
    subprocess.run(["cmake", "--build", BUILD, "--parallel", str(os.cpu_count())], check=True)
    compiler = os.environ.get("CXX", "c++")
    libraries = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "AUTOREP_FX_EXTENSION": str(next((BUILD / "out").glob("_C*.so"))),
        "LD_PRELOAD": " ".join(libraries),  # the interpreter itself is not built with them
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps memory at exit
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    return max(subprocess.run([sys.executable, *run], cwd=ROOT, env=environment).returncode for run in RUNS)


if __name__ == "__main__":
    sys.exit(main())
