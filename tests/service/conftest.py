import pytest
import structlog
import torch
from torch import nn

import autorep_fx as ar


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2), nn.Linear(72, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.two(torch.relu(self.one(x)))).flatten(1))


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A program's folder, its public part, certificates; a network in plaintext and inputs of it."""
    from autorep_fx.secure.files import publish
    from autorep_fx.service.certificates import make_certificates

    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    x = torch.randn(32, 3, 8, 8)
    gm = ar.transform(Small().eval(), example_inputs=x[:1])
    ar.compile(gm, x).save(folder / "program")
    publish(folder / "program", folder / "public")
    make_certificates(folder / "certificates", ["server", "dealer", "alice", "bob"])
    return folder, gm, x


@pytest.fixture(autouse=True)
def logs():
    """A command that ran here logs to where this test's output went, which is closed when it ends."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def provider(published, tmp_path):
    """What starts dealer and server; they end with the test."""
    from services import Provider

    folder, started = published[0], []

    def start(**options):
        started.append(Provider(tmp_path / f"provider{len(started)}", folder / "certificates", folder / "program",
                                folder / "public", **options))  # fmt: skip
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def service(published, tmp_path_factory):
    """A dealer and a server for tests that leave them as they are."""
    from services import Provider

    folder = published[0]
    started = Provider(tmp_path_factory.mktemp("service"), folder / "certificates", folder / "program",
                       folder / "public", server__metrics="127.0.0.1:0")  # fmt: skip
    yield started
    started.close()
