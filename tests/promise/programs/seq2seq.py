# Translation with attention: packed sequences, teacher forcing by chance, a mask over the padding.
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.join = (
            nn.Embedding(20, 8, padding_idx=0),
            nn.GRU(8, 12, bidirectional=True),
            nn.Linear(24, 12),
        )

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embed(words), lengths, enforce_sorted=False)
        states, last = self.rnn(packed)
        states, _ = pad_packed_sequence(states)
        return self.join(states), self.join(torch.cat([last[0], last[1]], 1)).tanh()


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.cell, self.out = nn.Embedding(20, 8), nn.GRUCell(20, 12), nn.Linear(24, 20)

    def forward(self, word, hidden, states, mask):
        weights = torch.einsum("bh,sbh->bs", hidden, states).masked_fill(~mask, -1e9).softmax(1)
        context = torch.bmm(weights.unsqueeze(1), states.transpose(0, 1)).squeeze(1)
        hidden = self.cell(torch.cat([self.embed(word), context], 1), hidden)
        return self.out(torch.cat([hidden, context], 1)), hidden, weights


random.seed(1)
torch.manual_seed(1)
encoder, decoder = Encoder(), Decoder()
optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (encoder, decoder)]
pairs = [torch.randint(3, 20, (length,)) for length in (5, 3, 7, 2, 6, 4)]
for epoch in range(3):
    for number in (0, 3):
        batch = pairs[number : number + 3]
        lengths = torch.tensor([len(words) for words in batch])
        source = pad_sequence(batch)
        states, hidden = encoder(source, lengths)
        mask = torch.arange(source.shape[0])[None] < lengths[:, None]
        word, loss = torch.ones(3, dtype=torch.long), 0
        for target in source:
            scores, hidden, weights = decoder(word, hidden, states, mask)
            loss = loss + nn.functional.cross_entropy(scores, target, ignore_index=0, reduction="sum")
            word = target if random.random() < 0.5 else scores.argmax(1).detach()
        for optimizer in optimizers:
            optimizer.zero_grad()
        (loss / lengths.sum()).backward()
        for optimizer in optimizers:
            optimizer.step()
        print(epoch, number, f"{loss.item() / lengths.sum().item():.6f}")
print(encoder.embed.weight.grad[0], weights[1])
