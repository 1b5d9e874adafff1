"""The trainer of Ganger: the loop, its checkpoints and the supervisor that runs it in a pod."""
