"""Builds `autorep_fx.kernels._C` from csrc/ through CMake. Everything else is in pyproject.toml."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
HELP = """
autorep_fx could not build its compiled kernels: {reason}

They need a C++17 compiler with OpenMP, and CMake. On Debian or Ubuntu:
    apt-get install g++        (CMake and Ninja: pip install cmake ninja pybind11)
To install without them (transforming and searching work, private inference does not):
    AUTOREP_FX_NO_EXT=1 pip install -e . --no-build-isolation
"""


class CMakeExtension(Extension):
    def __init__(self, name):
        super().__init__(name, sources=[])


class CMakeBuild(build_ext):
    def build_extension(self, ext):
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        cmake = shutil.which("cmake")
        if cmake is None:
            raise SystemExit(HELP.format(reason="no `cmake` on the path"))
        try:
            import pybind11
        except ImportError:
            raise SystemExit(HELP.format(reason="no pybind11 (pip install pybind11)")) from None
        build = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"
        # A build folder remembers its interpreter and its own place; one that was copied or reused would build wrongly.
        stamp, mine = build / "stamp.txt", f"{sys.executable}\n{build}\n{pybind11.get_cmake_dir()}\n{cmake}\n"
        if build.exists() and (not stamp.exists() or stamp.read_text() != mine):
            shutil.rmtree(build)
        build.mkdir(parents=True, exist_ok=True)
        stamp.write_text(mine)
        configure = [
            cmake, "-S", str(ROOT), "-B", str(build),
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        ]  # fmt: skip
        if shutil.which("ninja"):
            configure += ["-G", "Ninja"]
        try:
            subprocess.run(configure, check=True)
            subprocess.run([cmake, "--build", str(build), "--parallel", str(os.cpu_count() or 1)], check=True)
        except (subprocess.CalledProcessError, OSError) as error:
            raise SystemExit(HELP.format(reason=f"{error} (its own message is above)")) from None
        built = next((build / "out").glob("_C*.so"))
        target.parent.mkdir(parents=True, exist_ok=True)
        # A running process may have the old file mapped: replace the name, never the content.
        fresh = target.with_suffix(".tmp")
        shutil.copy2(built, fresh)
        os.replace(fresh, target)


skip = os.environ.get("AUTOREP_FX_NO_EXT") == "1"
setup(
    ext_modules=[] if skip else [CMakeExtension("autorep_fx.kernels._C")],
    cmdclass={"build_ext": CMakeBuild},
)
