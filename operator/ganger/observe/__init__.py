"""What the operator shows of itself: metrics, health and structured logs."""
