"""Many gangs in the queues of a real Kueue, on simulated nodes, and the judge of everything that was seen of them."""
