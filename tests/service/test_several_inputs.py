"""A service of a network with two inputs, which ends with what the client does itself: boxes of a detector."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from services import COMMAND, Provider
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.files import publish
from autorep_fx.service.certificates import make_certificates


class Changed(nn.Module):
    """Where, and how surely, one picture differs from another."""

    def __init__(self):
        super().__init__()
        self.see, self.say = nn.Conv2d(1, 4, 3, stride=2), nn.Linear(36, 7)
        self.register_buffer("anchor", torch.tensor([4.0, 4.0, 2.0, 2.0]))

    def forward(self, before, after):
        z = self.say(torch.relu(self.see(after) - self.see(before)).flatten(1))
        box = torch.cat([z[:, :2].tanh() * 4 + self.anchor[:2], z[:, 2:4].exp() * self.anchor[2:]], 1)
        return {"box": box, "scores": z[:, 4:].softmax(1), "label": z[:, 4:].argmax(1)}


def pictures(n, seed):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=[True, False], ids=["with a dealer", "without"])
def changed(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("changed")
    torch.manual_seed(0)
    net, x = Changed().eval(), (pictures(64, 1), 2 * pictures(64, 2))
    ar.compile(ar.transform(net, example_inputs=x), x, progress=False).save(folder / "program")
    publish(folder / "program", folder / "public")
    make_certificates(folder / "certificates", ["server", "dealer", "alice"])
    provider = Provider(folder / "service", folder / "certificates", folder / "program", folder / "public",
                        dealer=request.param)  # fmt: skip
    yield net, provider, (x[0][:2], x[1][:2])
    provider.close()


def test_a_client_gives_all_inputs_and_gets_what_the_model_returns(changed):
    net, provider, (before, after) = changed
    with provider.connect() as client:
        found = client.run(before, after)
        arrays = client.run(before.numpy(), after.numpy()).output
        assert client.headroom(before, after).fits
        for wrong, message in (((before,), "takes 2 inputs"), ((before, after[:1]), "after has 1 samples"),
                               ((before, after[:, :, :4]), "after has shape"),
                               ((before, 100 * after), "'after' holds")):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                client.run(*wrong)
    for name, wanted in net(before, after).items():
        torch.testing.assert_close(found.output[name], wanted, rtol=0.01, atol=0.01)
        assert np.abs(arrays[name] - wanted.detach().numpy()).max() < 0.02
        assert found.output[name].dtype == wanted.dtype


def test_asking_takes_a_file_for_each_input_and_needs_no_torch(changed, tmp_path, capfd):
    net, provider, x = changed
    files = [tmp_path / f"{name}{i}.npy" for i in range(2) for name in ("before", "after")]
    for i in range(2):
        for part, file in zip(x, files[2 * i :]):
            np.save(file, part[i].numpy())
    command = ["ask", "--program", provider.public, "--server", provider.at("server"), "--cert",
               provider.certificates / "alice.pem", "--ca", provider.certificates / "ca.pem", "--json"]  # fmt: skip
    command += ["--dealer", provider.at("dealer")] if "dealer" in provider.ports else []
    asked = subprocess.run([sys.executable, "-W", "ignore", "-c", COMMAND, *map(str, [*command, *files])],
                           capture_output=True, text=True, timeout=60)  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    answers, wanted = [json.loads(line) for line in asked.stdout.splitlines()], net(*x)
    assert [answer["input"] for answer in answers] == [[*map(str, files[:2])], [*map(str, files[2:])]]
    for i, answer in enumerate(answers):
        assert answer["output"]["label"] == [int(wanted["label"][i])]
        assert np.abs(np.array(answer["output"]["box"][0]) - wanted["box"][i].detach().numpy()).max() < 0.05
    asked = subprocess.run([sys.executable, "-W", "ignore", "-c", COMMAND, *map(str, [*command, *files[:3]])],
                           capture_output=True, text=True, timeout=60)  # fmt: skip
    assert asked.returncode != 0
    assert "takes 2 inputs (before, after), and 3 files were given: give BEFORE AFTER" in asked.stderr
