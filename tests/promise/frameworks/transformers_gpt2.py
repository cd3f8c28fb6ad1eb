# A tiny GPT-2 in a loop of one's own: labels, a schedule with warm-up, gradient checkpointing, sampling.
import torch
from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup

torch.manual_seed(0)
config = GPT2Config(
    vocab_size=40, n_positions=24, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1, pad_token_id=1
)
model = GPT2LMHeadModel(config)
model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
schedule = get_linear_schedule_with_warmup(optimizer, 1, 4)
model.train()
for step in range(4):
    words = torch.randint(2, 40, (3, 12))
    loss = model(input_ids=words, labels=words, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    print(step, f"{loss.item():.6f}", schedule.get_last_lr())
model.eval()
print(
    model.generate(
        torch.tensor([[0, 5]]),
        attention_mask=torch.ones(1, 2, dtype=torch.long),
        max_new_tokens=6,
        do_sample=True,
        top_k=5,
    ).tolist()
)
