"""The level-triggered machine: caches, queue, lease, workers. It knows nothing of training."""
