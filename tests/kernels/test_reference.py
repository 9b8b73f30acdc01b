from pathlib import Path

import autorep_fx

PACKAGE = Path(autorep_fx.__file__).parent


def test_the_reference_is_imported_only_where_kernels_are_chosen():
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if "import" in line and "reference" in line and "kernels" in line
    }
    assert {user for user in users if not user.startswith("kernels/")} == {"secure/plan/ring.py"}
