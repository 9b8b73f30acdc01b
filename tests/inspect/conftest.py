import pytest
import torch


@pytest.fixture(scope="module")
def images():
    return torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(1))
