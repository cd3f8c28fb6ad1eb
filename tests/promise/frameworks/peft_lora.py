# LoRA by peft on a tiny Llama: which parameters train, a few steps, adapters switched off, merged and saved.
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=32,
)
model = get_peft_model(
    LlamaForCausalLM(config),
    LoraConfig(r=2, lora_alpha=4, lora_dropout=0.1, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
)
model.print_trainable_parameters()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
for step in range(3):
    words = torch.randint(0, 40, (2, 10))
    loss = model(input_ids=words, labels=words).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(
        step,
        f"{loss.item():.6f}",
        sorted({name.split(".")[-3] for name, p in model.named_parameters() if p.grad is not None}),
    )
model.eval()
with torch.no_grad(), model.disable_adapter():
    base = model(input_ids=words).logits
merged = model.merge_and_unload()
with torch.no_grad():
    print((merged(input_ids=words).logits - base).abs().max() > 0, type(merged).__name__)
