# Ragged batches: jagged and strided nested tensors, padded out, and a masked tensor by hand.
import warnings

import torch
from torch import nn

warnings.filterwarnings("ignore", message=".*nested tensors.*")
torch.manual_seed(191)
layer, head = nn.Linear(4, 6), nn.Linear(6, 1)
optimizer = torch.optim.SGD([*layer.parameters(), *head.parameters()], lr=0.1)
sequences = [torch.randn(length, 4) for length in (3, 1, 2)]
for layout in (torch.jagged, torch.strided):
    for step in range(2):
        batch = torch.nested.nested_tensor(sequences, layout=layout)
        hidden = torch.relu(layer(batch))
        padded = torch.nested.to_padded_tensor(hidden, 0.0)
        loss = head(padded).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(layout, step, loss.item(), padded.shape)
print([piece.shape for piece in hidden.unbind()], hidden.is_nested)
