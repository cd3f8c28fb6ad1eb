# A tiny BERT for classification under transformers' Trainer, random weights and data, evaluated and saved.
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from transformers.utils import logging


class Texts(Dataset):
    def __init__(self, count):
        draw = torch.Generator().manual_seed(count)
        self.words, self.labels = (
            torch.randint(0, 60, (count, 8), generator=draw),
            torch.randint(0, 2, (count,), generator=draw),
        )

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {
            "input_ids": self.words[index],
            "attention_mask": torch.ones(8, dtype=torch.long),
            "labels": self.labels[index],
        }


logging.disable_progress_bar()
config = BertConfig(
    vocab_size=60,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=16,
)
torch.manual_seed(0)
model = BertForSequenceClassification(config)
arguments = TrainingArguments(
    "out",
    num_train_epochs=1,
    per_device_train_batch_size=4,
    logging_steps=2,
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
    save_strategy="no",
    seed=1,
)
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=Texts(16),
    eval_dataset=Texts(6),
    compute_metrics=lambda p: {"right": float((p.predictions.argmax(-1) == p.label_ids).mean())},
)
result = trainer.train()
print(
    round(result.training_loss, 6), [round(entry["loss"], 6) for entry in trainer.state.log_history if "loss" in entry]
)
told = trainer.evaluate()
print(round(told["eval_loss"], 6), told["eval_right"])
trainer.save_model("saved")
del trainer, result, told
