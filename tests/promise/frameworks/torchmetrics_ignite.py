# An engine of ignite with handlers and metrics, and torchmetrics beside it.
import torch
import torchmetrics
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy, Loss

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
batches = [(torch.randn(6, 4), torch.randint(0, 3, (6,))) for _ in range(4)]
criterion = torch.nn.CrossEntropyLoss()
trainer = create_supervised_trainer(net, torch.optim.SGD(net.parameters(), lr=0.1), criterion)
judge = create_supervised_evaluator(net, metrics={"right": Accuracy(), "loss": Loss(criterion)})


@trainer.on(Events.ITERATION_COMPLETED(every=2))
def tell(engine):
    print(engine.state.iteration, f"{engine.state.output:.6f}")


@trainer.on(Events.EPOCH_COMPLETED)
def evaluate(engine):
    print({name: round(value, 6) for name, value in judge.run(batches).metrics.items()})


trainer.run(batches, max_epochs=2)
right = torchmetrics.MetricCollection(
    [
        torchmetrics.Accuracy("multiclass", num_classes=3),
        torchmetrics.F1Score("multiclass", num_classes=3, average="macro"),
    ]
)
for x, y in batches:
    right.update(net(x).softmax(1), y)
print({name: round(value.item(), 6) for name, value in right.compute().items()})
