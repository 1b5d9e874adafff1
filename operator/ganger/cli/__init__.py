"""The command line: one module for each command, loaded when it is called and not before.

Offline commands (validate, render, run, --help) import no client library, and nothing here imports torch.
"""
