"""Ganger: TrainingJobs on Kubernetes, as gangs of pods that start together, checkpoint, and finish."""

__version__ = "0.1.0"
