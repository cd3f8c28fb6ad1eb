# Word vectors with sparse gradients, an embedding bag, SparseAdam, and sparse matrices in the graph.
import torch
from torch import nn

torch.manual_seed(51)
words = nn.Embedding(50, 6, sparse=True)
around = nn.Embedding(50, 6, sparse=True, max_norm=2.0)
bag = nn.EmbeddingBag(50, 6, mode="sum", sparse=True)
optimizer = torch.optim.SparseAdam([*words.parameters(), *around.parameters(), *bag.parameters()], lr=1e-2)
for step in range(4):
    centre, near, far = torch.randint(0, 50, (8,)), torch.randint(0, 50, (8,)), torch.randint(0, 50, (8, 3))
    good = (words(centre) * around(near)).sum(1)
    bad = torch.bmm(around(far), words(centre).unsqueeze(2)).squeeze(2)
    whole = bag(torch.cat([centre, near]), torch.tensor([0, 5, 9]))
    loss = -nn.functional.logsigmoid(good).mean() - nn.functional.logsigmoid(-bad).mean() + whole.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    print(
        step, f"{loss.item():.6f}", words.weight.grad.layout, words.weight.grad.is_coalesced(), words.weight.grad._nnz()
    )
    optimizer.step()
edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
graph = torch.sparse_coo_tensor(edges, torch.rand(4), (4, 4), requires_grad=True)
nodes = torch.randn(4, 3, requires_grad=True)
torch.sparse.mm(graph, nodes).pow(2).sum().backward()
rows = torch.randn(3, 3).relu().to_sparse_csr()
print(graph.grad.coalesce(), nodes.grad, (rows @ torch.ones(3, 1)).flatten())
