"""A training loop that is recorded: argument 1 is the run, argument 2 the number of steps; prints each step kept."""

import sys

import torch

import landscape

if "PATH" not in globals():
    PATH, STEPS = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
model = torch.nn.Linear(50, 20)
with landscape.record(PATH, differences=5) as keep:
    for step in range(STEPS):
        with torch.no_grad():
            model.weight.copy_(torch.randn(20, 50, generator=torch.Generator().manual_seed(step)))
            model.bias.zero_()
        keep(model, step, loss=step)
        print(step, flush=True)
