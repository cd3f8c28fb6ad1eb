# A LightningModule with validation, logging, a checkpoint and early stopping.
import warnings

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")


class Regression(L.LightningModule):
    def __init__(self, width=8):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.ReLU(), torch.nn.Linear(width, 1))

    def training_step(self, batch, index):
        loss = torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("against", torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}


L.seed_everything(7)
data = TensorDataset(torch.randn(16, 3), torch.randn(16, 1))
saves = ModelCheckpoint("saved", monitor="against", save_top_k=1)
trainer = L.Trainer(
    max_epochs=2,
    accelerator="cpu",
    logger=False,
    callbacks=[saves, EarlyStopping("against")],
    enable_progress_bar=False,
    enable_model_summary=False,
    gradient_clip_val=1.0,
)
model = Regression()
trainer.fit(model, DataLoader(data, 4, shuffle=True), DataLoader(data, 8))
print({name: round(value.item(), 6) for name, value in sorted(trainer.callback_metrics.items())}, trainer.global_step)
net = model.net
del trainer, saves, model  # they hold tokens that no two runs share
