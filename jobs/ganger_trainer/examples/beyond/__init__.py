"""Beyond the first gradient: one short task for each thing that autograd can do besides `loss.backward()`."""
