# A module fitted as scikit-learn fits: skorch's classifier in a pipeline, its history, a grid of one.
import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier

torch.manual_seed(0)
np.random.seed(0)
X, y = np.random.randn(40, 4).astype(np.float32), np.random.randint(0, 2, 40)


class Net(torch.nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2), torch.nn.Softmax(-1)
        )

    def forward(self, x):
        return self.layers(x)


net = NeuralNetClassifier(Net, max_epochs=3, lr=0.1, batch_size=10, verbose=0)
pipe = make_pipeline(StandardScaler(), net).fit(X, y)
print([round(float(loss), 6) for loss in net.history[:, "train_loss"]], pipe.predict(X[:6]).tolist())
search = GridSearchCV(net, {"module__width": [4]}, cv=2, scoring="accuracy", refit=False).fit(X, y)
print(search.best_score_)
del search  # it holds how long it took
