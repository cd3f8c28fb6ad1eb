# A character model: truncated backpropagation through time, clipping, and sampling with a temperature.
import torch
from torch import nn

text = "the quick brown fox jumps over the lazy dog and the dog sleeps on "
letters = sorted(set(text))
index = {letter: number for number, letter in enumerate(letters)}
codes = torch.tensor([index[letter] for letter in text * 4])
torch.manual_seed(3)
embedding = nn.Embedding(len(letters), 12)
cell = nn.LSTM(12, 24, num_layers=2, dropout=0.1)
decoder = nn.Linear(24, len(letters))
parameters = [*embedding.parameters(), *cell.parameters(), *decoder.parameters()]
optimizer = torch.optim.RMSprop(parameters, lr=5e-3)
hidden = None
losses = []
for start in range(0, len(codes) - 21, 20):
    window, target = codes[start : start + 20], codes[start + 1 : start + 21]
    if hidden is not None:
        hidden = tuple(state.detach() for state in hidden)
    output, hidden = cell(embedding(window).unsqueeze(1), hidden)
    loss = nn.functional.cross_entropy(decoder(output.squeeze(1)), target)
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    losses.append(round(loss.item(), 5))
print(losses, norm)
with torch.no_grad():
    said, state, letter = "t", None, torch.tensor([index["t"]])
    for _ in range(30):
        output, state = cell(embedding(letter).unsqueeze(1), state)
        letter = torch.multinomial((decoder(output[0, 0]) / 0.8).softmax(0), 1)
        said += letters[letter]
print(said)
