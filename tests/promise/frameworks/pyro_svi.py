# Stochastic variational inference by Pyro, a guide of its own and an automatic one; a short HMC.
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal

pyro.set_rng_seed(0)
x = torch.linspace(-1, 1, 12)
y = 2 * x + 0.5 + 0.1 * torch.randn(12)


def model(x, y=None):
    slope, shift = pyro.sample("slope", dist.Normal(0.0, 2.0)), pyro.sample("shift", dist.Normal(0.0, 2.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    with pyro.plate("data", len(x)):
        return pyro.sample("y", dist.Normal(slope * x + shift, noise), obs=y)


guide = AutoNormal(model)
svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
print([round(svi.step(x, y), 4) for _ in range(5)])
print({name: value.detach().tolist() for name, value in guide.median().items()})
chain = MCMC(NUTS(model, max_tree_depth=2), num_samples=3, warmup_steps=2, disable_progbar=True)
chain.run(x, y)
print({name: value.tolist() for name, value in sorted(chain.get_samples().items())})
del svi  # its order is that of a set of parameters, which no two runs share
