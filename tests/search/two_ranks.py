"""A short search on two ranks; rank 0 compares the results of both. Run by torchrun."""

import torch
import torch.distributed as dist

import autorep_fx as ar
from autorep_fx.models import ImageLoader, digits, resnet_cifar

dist.init_process_group("gloo")
torch.set_num_threads(1)
rank, ranks = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
train, _ = digits()
gm = ar.transform(resnet_cifar(8, in_channels=1))
loader = ImageLoader(train[:512], 32, train=True, pad=1, rank=rank, ranks=ranks)
ar.search(gm, loader, relu_budget=150, epochs=2, lr=3e-3, progress=False)
mine = torch.cat([t.float().flatten() for t in gm.state_dict().values()])
both = [torch.empty_like(mine) for _ in range(ranks)]
dist.all_gather(both, mine)
assert ar.relu_count(gm) == 150
assert torch.equal(both[0], both[1]), "the ranks ended with different networks"
if rank == 0:
    print("same")
dist.barrier()  # a rank that tears its group down while the other still talks can abort
dist.destroy_process_group()
