"""The operator: the only wiring of settings, cluster, caches, plan and runtime. `python -m ganger.app` starts it."""
