# Graph convolutions and pooling by PyTorch Geometric on random graphs.
import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GATConv, GCNConv, global_mean_pool


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = GCNConv(4, 8), GATConv(8, 8, heads=2, concat=False), torch.nn.Linear(8, 2)

    def forward(self, data):
        x = F.relu(self.first(data.x, data.edge_index))
        x = F.dropout(F.elu(self.second(x, data.edge_index)), 0.2, self.training)
        return self.head(global_mean_pool(x, data.batch))


torch.manual_seed(0)
graphs = [Data(x=torch.randn(6, 4), edge_index=torch.randint(0, 6, (2, 12)), y=torch.tensor([n % 2])) for n in range(8)]
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
for epoch in range(2):
    for batch in DataLoader(graphs, 4, shuffle=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(batch), batch.y)
        loss.backward()
        optimizer.step()
        print(epoch, f"{loss.item():.6f}", batch.num_graphs)
