# Speech: mel-like features by stft, a CTC loss, a beam search on the result, a transducer's log-sum-exp by hand.
import torch
from torch import nn

torch.manual_seed(231)
wave = torch.randn(2, 400)
spectrum = torch.stft(wave, 64, 32, window=torch.hann_window(64), return_complex=True).abs().clamp(min=1e-5).log()
net = nn.Sequential(nn.Conv1d(33, 16, 3, padding=1), nn.ReLU(), nn.Dropout(0.1))
rnn, head = nn.GRU(16, 12, batch_first=True, bidirectional=True), nn.Linear(24, 6)
optimizer = torch.optim.Adagrad([*net.parameters(), *rnn.parameters(), *head.parameters()], lr=0.05)
targets, lengths = torch.tensor([[1, 2, 3, 4], [2, 5, 0, 0]]), torch.tensor([4, 2])
for step in range(4):
    states, _ = rnn(net(spectrum).transpose(1, 2))
    chances = head(states).log_softmax(-1)
    loss = nn.functional.ctc_loss(chances.transpose(0, 1), targets, torch.tensor([13, 13]), lengths, zero_infinity=True)
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
    print(step, loss.item())
beams = [((), 0.0)]
for frame in chances[0].detach():
    grown = [(text + (letter,), score + frame[letter].item()) for text, score in beams for letter in range(6)]
    beams = sorted(grown, key=lambda beam: -beam[1])[:3]
print(beams[0][0], round(beams[0][1], 4))
alpha = torch.zeros(1)
for frame in head(states.detach())[0]:
    alpha = torch.logsumexp(torch.cat([alpha, frame]), 0, keepdim=True)
alpha.backward()
print(alpha, head.weight.grad.norm())
