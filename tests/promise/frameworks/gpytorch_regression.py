# An exact Gaussian process: the marginal likelihood of its kernel's parameters, then predictions.
import gpytorch
import torch


class Process(gpytorch.models.ExactGP):
    def __init__(self, x, y, likelihood):
        super().__init__(x, y, likelihood)
        self.mean, self.kernel = (
            gpytorch.means.ConstantMean(),
            gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel()),
        )

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))


torch.manual_seed(0)
x = torch.linspace(0, 1, 15)
y = torch.sin(x * 6) + torch.randn(15) * 0.1
likelihood = gpytorch.likelihoods.GaussianLikelihood()
model = Process(x, y, likelihood)
model.train(), likelihood.train()
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
goal = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
for step in range(5):
    optimizer.zero_grad()
    loss = -goal(model(x), y)
    loss.backward()
    optimizer.step()
    print(step, f"{loss.item():.6f}", f"{model.kernel.base_kernel.lengthscale.item():.6f}")
model.eval(), likelihood.eval()
with torch.no_grad(), gpytorch.settings.fast_pred_var():
    told = likelihood(model(torch.tensor([0.3, 0.7])))
    print(told.mean, told.variance)
