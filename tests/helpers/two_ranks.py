"""A short search and fine-tuning on two ranks, each a process, which compare their results."""

import traceback

import torch
import torch.distributed as dist

import autorep_fx as ar
from autorep_fx.errors import BudgetError
from autorep_fx.models import ImageLoader, digits, resnet_cifar
from autorep_fx.search import loop

refresh = loop.refresh_batch_norm


def gathered(tensors):
    mine = torch.cat([t.detach().float().flatten() for t in tensors])
    both = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(both, mine)
    return both


def trained_alike(model, loader):
    """Before the ranks get rank 0's network for the last time, which would hide that they went apart."""
    both = gathered(model.parameters())
    assert torch.equal(both[0], both[1]), "the ranks trained different networks"
    refresh(model, loader)


def run(rank, meeting):
    """As rank 0 or 1 of those who meet in this file; what goes wrong is written beside it."""
    try:
        train_both(rank, meeting)
    except BaseException:
        meeting.with_suffix(f".{rank}").write_text(traceback.format_exc())
        raise


def train_both(rank, meeting):
    loop.refresh_batch_norm = trained_alike
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, _ = digits()
    gm = ar.transform(resnet_cifar(8, in_channels=1))
    loader = ImageLoader(train[:512], 32, train=True, pad=1, rank=rank, ranks=2)
    ar.search(gm, loader, relu_budget=150, epochs=2, lr=3e-3, progress=False)
    ar.finetune(gm, loader, epochs=1, coeff_lr=0.2, growth=0.1, progress=False)  # squares meet what holds them
    both = gathered(gm.state_dict().values())
    assert ar.relu_count(gm) == 150
    assert torch.equal(both[0], both[1]), "the ranks ended with different networks"
    small = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(4, 8, 3, padding=1),
                                torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(128, 10))  # fmt: skip
    gm = ar.transform(small)
    history = ar.search(gm, loader, latency_ms=100, network="wan", epochs=2, progress=False)  # one of its sites sends
    sites = list(ar.sites(gm).values())
    both = gathered([*gm.state_dict().values(), *(tensor for site in sites for tensor in (site.keep, site.line))])
    assert torch.equal(both[0], both[1]), "the ranks ended with different forms"
    assert history.predicted["latency_ms"] <= 100 and {site.kept > 0 for site in sites} == {True, False}
    try:
        ar.search(ar.transform(small), loader, latency_ms=1, network="wan", epochs=1, progress=False)
    except BudgetError:  # rank 0 finds that; the other must not wait for it
        pass
    else:
        raise AssertionError("a limit below lines alone is an error on both ranks")
    dist.barrier()  # a rank that tears its group down while the other still talks can abort
    dist.destroy_process_group()
